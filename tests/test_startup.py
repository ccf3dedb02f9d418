"""What each entry point imports before it needs it: each is tried in a process of its own."""

import ast
import subprocess
import sys
from collections.abc import Collection, Iterable

import pytest

from fedgin.cli.main import Verbs
from fedgin.cli.site import SiteVerbs
from fedgin.flare.jobs.allow_list import KINDS
from fedgin.flare.jobs.configuration import client_config, named_classes, server_config
from fedgin.flare.jobs.numbers import Numbers
from tests.places import JOBS, ROOT, TRAINING_JOBS

TRAINING = {"torch", "monai", "ignite", "matplotlib", "einops", "dynamic_network_architectures"}
# What takes more than a twentieth of a second; pydantic, too, because typer's own start takes most of what help may.
HEAVY = TRAINING | {"nvflare", "numpy", "scipy", "pydantic", "cryptography", "jinja2"}
HEAVY |= {"pydicom", "highdicom", "nibabel"}
# Installed, and not for MONAI, ignite and nibabel. Written out: what fedgin.lean_imports hides must be all of it.
HIDDEN = {"matplotlib", "pandas", "pydicom", "scipy.optimize", "scipy.signal", "tensorboard", "torch.utils.tensorboard"}
HELP = [["--version"], ["--help"], ["site", "--help"]]
HELP += [[verb, "--help"] for verb in Verbs.summaries] + [["site", verb, "--help"] for verb in SiteVerbs.summaries]
# Classes that resources.json of the kits names, and FLARE loads into the processes that run from one job to the next.
SERVER = [
    "fedgin.flare.server.job_manager",
    "fedgin.flare.server.crashed_jobs",
    "fedgin.flare.server.failed_sites",
    "fedgin.flare.server.freed_memory",
    "fedgin.flare.server.restarted_sites",
    "fedgin.flare.server.uploads",
]
EVERYWHERE = [
    "fedgin.deploy.start",
    "fedgin.flare.audit.double_start",
    "fedgin.flare.audit.request_filter",
    "fedgin.flare.audit.security_events",
    "fedgin.flare.job_launchers",
    "fedgin.flare.jobs.job_validator",
    "fedgin.flare.provisioning.signed_start",
]
CONSOLE = ["fedgin.cli.follow_job", "fedgin.flare.run.console", "fedgin.flare.run.follow", "fedgin.flare.jobs.job"]


def imported(statements: str, among: Collection[str]) -> set[str]:
    """Run statements in a new process; return which of the packages it has imported then."""
    code = f"{statements}\nimport sys\nprint(*({set(among)} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set((done.stdout.splitlines() or [""])[-1].split())


def test_help_imports_nothing_that_a_verb_works_with() -> None:
    runs = f"""
from typer.testing import CliRunner
from fedgin.cli.main import app
for arguments in {HELP}:
    assert CliRunner().invoke(app, arguments).exit_code == 0, arguments
"""
    assert imported(runs, HEAVY) == set()


@pytest.mark.parametrize("modules", [SERVER + EVERYWHERE, EVERYWHERE, CONSOLE], ids=["server", "site", "console"])
def test_who_waits_for_days_does_not_hold_what_trains(modules: list[str]) -> None:
    """FLARE's server and client between jobs, and the lead's console, which follows one; reading any job is theirs."""
    reads = f"""
import {", ".join(modules)}
from pathlib import Path
from fedgin.flare.jobs.job import load_job
for folder in {[str(job) for job in TRAINING_JOBS]}:
    load_job(Path(folder))
"""
    assert imported(reads, TRAINING | {"numpy", "scipy"}) == set()


def test_a_network_s_parameters_are_checked_without_its_library() -> None:
    checks = """
from fedgin.nets.registry import check_network, network_names
from fedgin.nets.settings import NetworkSettings
for name in network_names():
    check_network(NetworkSettings(name=name), (64, 64))
"""
    assert imported(checks, TRAINING | {"numpy", "scipy"}) == set()


def test_a_jobs_process_at_the_server_leaves_monai_to_the_one_that_builds_the_network() -> None:
    """PyTorch itself is there: FLARE's persistor writes its format."""
    numbers = Numbers(num_rounds=1, min_clients=1)
    made = [server_config(numbers, federation) for federation in KINDS]
    experiment = JOBS / "abdomen_fedgin" / "app" / "config" / "experiment.yaml"
    starts = f"""
import nvflare.private.fed.app.server.runner_process, {modules(named_classes(made))}
assert fedgin.flare.server.model.initial_network({str(experiment)!r}).state_dict()
"""
    assert imported(starts, TRAINING | {"scipy"}) == {"torch"}


def modules(classes: Iterable[str]) -> str:
    """Return the modules of classes, as an import statement names them."""
    return ", ".join(sorted({path.rpartition(".")[0] for path in classes}))


def test_a_jobs_process_at_a_site_leaves_pytorch_to_the_one_that_trains() -> None:
    """Also where updates are encrypted: FLARE's own process of a job, with every class that a job names for it."""
    made = [client_config(encrypted=encrypted) for encrypted in (False, True)]
    process = "nvflare.private.fed.app.client.worker_process"
    assert imported(f"import {process}, {modules(named_classes(made))}", TRAINING | {"scipy"}) == set()


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("fedgin.phantoms.site", {"numpy", "scipy", "nibabel", "pydantic"}),
        ("fedgin.data.validation", {"numpy", "scipy", "nibabel", "pydantic"}),
        ("fedgin.deploy.doctor", {"numpy", "scipy", "nibabel", "pydantic", "cryptography"}),
        ("fedgin.data.dicom.ingest", {"numpy", "scipy", "nibabel", "pydicom", "pydantic", "highdicom"}),
        ("fedgin.flare.provisioning.kits", {"pydantic", "cryptography"}),
        ("fedgin.flare.audit.timeline", {"pydantic", "cryptography"}),
    ],
)
def test_a_verb_imports_what_it_works_with_and_no_more(module: str, allowed: set[str]) -> None:
    assert imported(f"import {module}", HEAVY) <= allowed


def test_what_trains_gets_monai_and_ignite_without_what_they_do_not_need() -> None:
    needless = {*HIDDEN, "scipy.stats", "torch.distributed.optim", "nvflare"}
    needless |= {"dynamic_network_architectures"}  # only a job that names its network needs it
    assert imported("import fedgin.train.site.worker", {"monai", "ignite"} | needless) == {"monai", "ignite"}


@pytest.mark.parametrize("first", ["monai.engines", "ignite.engine"])
def test_what_was_hidden_from_monai_is_there_for_all_others(first: str) -> None:
    done = f"""
import fedgin, {first}
from ignite.engine import Engine
from monai.engines import SupervisedTrainer
assert issubclass(SupervisedTrainer, Engine)
import matplotlib.figure, pandas, pydicom, scipy.optimize, scipy.signal, torch.utils.tensorboard
from torch.distributed.optim import ZeroRedundancyOptimizer
assert ZeroRedundancyOptimizer.__module__.startswith("torch")
"""
    assert imported(done, HIDDEN) == HIDDEN


STEP = """
weights = torch.ones(2, requires_grad=True)
optimizer = torch.optim.AdamW([weights])
def step():
    optimizer.zero_grad()
    (3 * weights).sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
step()
"""
COUNT = """
from fedgin.nets.registry import build_network, network_names
from fedgin.nets.settings import NetworkSettings
from fedgin.nets.without_memory import without_memory
with without_memory():
    torch.nn.Embedding(2, 2)
    for name in {*network_names()} - {"swin_unetr"}:  # MONAI computes the places of its windows
        build_network(NetworkSettings(name=name), spatial_dims=2, out_channels=2, seed=0)
"""
COMPILER = {"torch._dynamo.config", "torch._dynamo.testing", "sympy", "torch.optim"}
USES = [
    'assert torch.compile(lambda x: 2 * x, backend="eager")(weights).tolist() == (2 * weights).tolist()',
    "import torch._dynamo.config as config; assert config.recompile_limit",
    "from torch._dynamo.utils import counters; assert not counters",
    "assert torch._dynamo.list_backends()",
]


@pytest.fixture(scope="module")
def after_a_step() -> dict[str, set[str]]:
    """Return what of the compiler is imported after a step, a count, and after each use; without one that fails.

    Each is tried in a copy of one process, which has imported PyTorch and done nothing with it.
    """
    codes = {"": STEP, COUNT: COUNT} | {use: f"{STEP}\n{use}\nstep()\nimport torch._dynamo.testing" for use in USES}
    tries = f"""
import fedgin, os, sys, torch
for use, code in {codes}.items():
    if not os.fork():
        exec(code)
        print(repr((use, {COMPILER} & sys.modules.keys())))
        sys.exit()
    os.wait()
"""
    done = subprocess.run([sys.executable, "-c", tries], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return dict(ast.literal_eval(line) for line in done.stdout.splitlines() if line.startswith("("))


def test_an_optimizer_does_without_the_compiler(after_a_step: dict[str, set[str]]) -> None:
    assert after_a_step[""] == {"torch.optim"}


def test_weights_are_counted_without_the_compiler(after_a_step: dict[str, set[str]]) -> None:
    """Every site does so when a job starts."""
    assert "sympy" not in after_a_step[COUNT]


@pytest.mark.parametrize("use", USES)
def test_who_asks_for_the_compiler_gets_the_whole_of_it(after_a_step: dict[str, set[str]], use: str) -> None:
    assert "torch._dynamo.testing" in after_a_step[use]
