"""CPU seconds and memory of every way in, from start to what it waits for, beside ``import typer, rich``.

Each is started anew, in turn with the others, and its least CPU time counts: ``python -m benchmarks.startup``.
"""

import os
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedgin.cli.main import Verbs
from fedgin.cli.site import SiteVerbs
from fedgin.flare.jobs.job import load_job
from fedgin.fork_server import fork_server
from fedgin.train.initial_model import ask

# The memory that the kernel has counted for a process holds its starter's, too; this file does not.
MEASURED = "import atexit, sys; atexit.register(lambda: sys.stderr.write(open('/proc/self/status').read()))\n"
FLARE_SERVER = "import nvflare.private.fed.app.server.server_train"
FLARE_CLIENT = "import nvflare.private.fed.app.client.client_train"
# What FLARE does before its first connection, and what our kits and consoles do before that.
DRIVERS = "from nvflare.fuel.f3.communicator import load_comm_drivers\nload_comm_drivers()"
OURS = "from fedgin.flare.process import leave_out_http\nleave_out_http()"
EVERYWHERE = "import fedgin.flare.audit.security_events, fedgin.flare.jobs.job_validator"
READS = (
    "from pathlib import Path\nfrom fedgin.flare.jobs.job import load_job\njob = load_job(Path('jobs/abdomen_fedgin'))"
)
CONSOLE = "import fedgin.cli.follow_job, fedgin.flare.run.console, fedgin.flare.run.follow"
SERVER_JOB = (
    "import nvflare.private.fed.app.server.runner_process\n"
    "import fedgin.flare.server.aggregator, fedgin.flare.server.model, fedgin.flare.server.model_selector\n"
    "import fedgin.flare.server.round_recorder, fedgin.flare.server.checkpoint_keeper\n"
    "import nvflare.app_opt.pt.file_model_persistor, nvflare.app_opt.tracking.tb.tb_receiver"
)
SITE_JOB = "import nvflare.private.fed.app.client.worker_process"
BUILDS = "from fedgin.train.initial_model import answer_to\nanswer_to(job.experiment.model_dump_json())"
OPTIMIZER = "torch.optim.AdamW([torch.ones(1)])"
AT_SERVER = "from fedgin.flare.server import crashed_jobs, failed_sites, job_manager, restarted_sites, uploads"
COPIES = 10
IMPORTS = {
    "import typer, rich": "import typer, rich",
    "FLARE's server": f"{FLARE_SERVER}\n{DRIVERS}",
    "server between jobs, with our parts": "\n".join([OURS, FLARE_SERVER, AT_SERVER, EVERYWHERE, READS, DRIVERS]),
    "FLARE's client": f"{FLARE_CLIENT}\n{DRIVERS}",
    "site between jobs, with our parts": "\n".join([OURS, FLARE_CLIENT, EVERYWHERE, READS, DRIVERS]),
    "the lead's console while it follows a job": "\n".join([OURS, CONSOLE, READS, DRIVERS]),
    "server's process of a job": "\n".join([OURS, SERVER_JOB, DRIVERS]),
    "the process that builds its network": "\n".join([READS, BUILDS]),
    "FLARE's process of a job at a site": f"{SITE_JOB}\n{DRIVERS}",
    "the same with our parts": "\n".join([OURS, SITE_JOB, "import fedgin.flare.client.executor", DRIVERS]),
    "site's training process, with its optimiser": f"import fedgin.train.site.worker, torch\n{OPTIMIZER}",
    "the same with PyTorch's compiler": f"import fedgin.train.site.worker, torch._dynamo.config\n{OPTIMIZER}",
}


@dataclass(frozen=True, order=True)
class Cost:
    """What a process had used when it ended: CPU seconds, and the most memory in MB."""

    seconds: float
    megabytes: float


def entry_points() -> dict[str, list[str]]:
    """Return the command of each entry point, by what it is called in the table."""
    verbs = ["", *Verbs.summaries, "site", *(f"site {verb}" for verb in SiteVerbs.summaries)]
    program = [sys.executable, "-c", f"{MEASURED}from fedgin.cli.main import run; run()"]
    found = {name: [sys.executable, "-c", f"{MEASURED}{code}"] for name, code in IMPORTS.items()}
    found |= {"fedgin --version": [*program, "--version"]}
    return found | {" ".join(f"fedgin {verb} --help".split()): [*program, *verb.split(), "--help"] for verb in verbs}


def run_once(command: list[str]) -> Cost:
    """Run a command to its end.

    Raises:
        subprocess.CalledProcessError: it did not end well.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command, stderr=said)
    (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", said, flags=re.MULTILINE)
    return Cost(used.ru_utime + used.ru_stime, int(peak) / 1024)


def cost_of_copies() -> Cost:
    """Return what a copy of the fork server costs that builds the network of the abdomen job; its memory is shared."""
    experiment = load_job(Path("jobs/abdomen_fedgin")).experiment.model_dump_json()
    spent = []
    for copies in (1, 1 + COPIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with fork_server():
            for _ in range(copies):
                ask(experiment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return Cost((spent[1] - spent[0]) / COPIES, 0)


def main(repeats: Annotated[int, typer.Option(min=1, help="How often each is started.")] = 5) -> None:
    """Print a line for each entry point.

    Example: python -m benchmarks.startup --repeats 3
    """
    commands = entry_points()
    costs = [{name: run_once(command) for name, command in commands.items()} for _ in range(repeats)]
    least = {name: min(cost[name] for cost in costs) for name in commands}
    least["the process that builds the network, as a copy"] = min(cost_of_copies() for _ in range(repeats))
    reference = least["import typer, rich"].seconds
    table = Table("entry point", "CPU s", "MB", "times typer and rich")
    for name, cost in least.items():
        table.add_row(name, f"{cost.seconds:.2f}", f"{cost.megabytes:.0f}", f"{cost.seconds / reference:.1f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
