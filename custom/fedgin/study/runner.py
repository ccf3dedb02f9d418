"""Run the arms of a study side by side, as many as the cores allow; complete arms are never run again."""

from collections.abc import Sequence
from pathlib import Path

from fedgin.errors import FedginError
from fedgin.folders import claimed_folder
from fedgin.fork_server import fork_server
from fedgin.registry import check_choice
from fedgin.study.arm_result import ArmResult, has_result, read_result
from fedgin.study.crew import Crew
from fedgin.study.listener import StudyListener
from fedgin.study.plan import ArmSpec, load_study
from fedgin.study.planned_arm import PlannedArm, StudySites


class StudyError(FedginError):
    """An arm failed; complete arms are kept."""

    code = "FG-080"


def run_study(
    source: Path, out: Path, listener: StudyListener, *, cores: int, only: Sequence[str] = ()
) -> list[tuple[ArmSpec, ArmResult]]:
    """Run what is not complete yet and return every complete arm's result in the study's order.

    Other calls may run arms of the study at the same time (see :mod:`fedgin.study.claims`); this one waits for theirs
    and takes over those of a call that ended.

    Args:
        source: the ``study.yaml``.
        out: folder of the study; the same folder continues it.
        listener: told of progress, in this thread.
        cores: how many to use. A federated arm takes one a site, any other arm one.
        only: names of arms to run; the others are left as they are. By default all run.

    Raises:
        FedginError: settings or data are wrong, before anything runs.
        StudyError: arms failed; the others were completed before it is raised.
    """
    sites = StudySites(
        load_study(source),
        out,
        on_prepared=listener.preparing,
        on_left_out=listener.left_out,
        on_untaught=listener.untaught,
    )
    arms = sites.arms()
    wanted = chosen_arms(arms, only)
    claimed_folder(out, "a study")
    settings = [sites.setting(spec) for spec in arms]
    chosen = [setting for setting in settings if setting.spec in wanted]
    open_arms = [setting for setting in chosen if not _is_complete(setting)]
    listener.planned(len(chosen), len(chosen) - len(open_arms))
    with fork_server():
        failed = Crew(source, out, listener, cores).run(open_arms)
    if failed:
        raise StudyError(
            f"{len(failed)} arms failed, first {failed[0]}", f"see {out / 'arms'}/ARM.log; then run it again"
        )
    for setting in chosen:
        _complete(setting)
    return [(setting.spec, result) for setting in settings if (result := _result(setting)) is not None]


def chosen_arms(arms: Sequence[ArmSpec], only: Sequence[str]) -> list[ArmSpec]:
    """Return the arms of these names, or all where no name is given.

    Raises:
        ConfigError: there is no arm of a name.
    """
    names = {spec.name: () for spec in arms}
    for name in only:
        check_choice("arm", names, name, ())
    return [spec for spec in arms if not only or spec.name in only]


def _is_complete(setting: PlannedArm) -> bool:
    return has_result(setting.arm, setting.sites, setting.home.parent)


def _result(setting: PlannedArm) -> ArmResult | None:
    return read_result(setting.arm, setting.sites, setting.home.parent)


def _complete(setting: PlannedArm) -> None:
    if _result(setting) is None:
        raise StudyError(f"arm {setting.spec.name} left no result", "run the study again; was its folder changed?")
