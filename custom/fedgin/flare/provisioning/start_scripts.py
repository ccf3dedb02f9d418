"""What our kits change in FLARE's scripts: before they are signed, and wherever the kit is made."""

from pathlib import Path

from nvflare.lighter.constants import ProvFileName

from fedgin.flare.process import MODULE

# Found, not imported, which would take as long as FLARE's own start.
FIND_FLARE = """if ! python3 -c 'from importlib.util import find_spec as find
exit(not (find("nvflare") and find("fedgin")))' 2>/dev/null; then
  echo "$(command -v python3) has no nvflare or no fedgin: put the folder of the installation's python3 first into PATH"
  exit 1
fi
"""
# FLARE links the kit's folders by this path, and its stop_fl.sh may be called from another folder than the start.
WHOLE_PATH = """if [[ "$WORKSPACE" != /* ]]; then
  echo "fedgin: NVFL_WORKSPACE is the relative path '$WORKSPACE'. Fix: give the whole path, from / on [FG-062]" >&2
  exit 2
fi
"""
ARGUMENTS = "while [[ $# -gt 0 ]]"
START = 'fedgin.deploy.start "$WORKSPACE"'
SIGNED = 'fedgin.flare.provisioning.signed_start "$WORKSPACE/startup"'
CHECK = f"python3 -m {START} || exit 2"
# By file: FLARE's text, and ours. Its scripts break at a path with spaces, before anybody could say so.
GUARDED = {
    ProvFileName.SUB_START_SH: {
        ARGUMENTS: WHOLE_PATH + FIND_FLARE + ARGUMENTS,
        "exec python3 -u -m nvflare": f"exec python3 -u -m {START} {MODULE} nvflare",
        "check_daemon\n\necho $BASHPID": f"{CHECK}\ncheck_daemon\n\necho $BASHPID",
    },
    ProvFileName.START_SH: {"$DIR/sub_start.sh &": '"$DIR/sub_start.sh" &'},
    ProvFileName.FL_ADMIN_SH: {
        "mkdir -p $DIR/../transfer": 'mkdir -p "$DIR/../transfer"',
        "-m $DIR/..": '-m "$DIR/.."',
    },
}
VERIFIED = {
    f"{START} {MODULE}": f"{START} {SIGNED}",
    CHECK: f"python3 -m {START} {SIGNED} || exit 2",
    # FLARE's own flag, which is not needed then, would check what no kit has signed.
    'verify_startup_kits -f "$KIT_WORKSPACE" -c': 'verify_startup_kits -f "$KIT_WORKSPACE/startup" -c',
}


def guard_start(startup: Path) -> None:
    """Let the scripts of a kit start FLARE by :mod:`fedgin.deploy.start`.

    Args:
        startup: the kit's ``startup`` folder, not yet signed.
    """
    for name, changes in GUARDED.items():
        if (startup / name).is_file():
            _change(startup / name, changes)


def always_verify(startup: Path) -> None:
    """Let them start it by :mod:`fedgin.flare.provisioning.signed_start`, too; for a kit that will be signed."""
    if (startup / ProvFileName.SUB_START_SH).is_file():
        _change(startup / ProvFileName.SUB_START_SH, VERIFIED)


def _change(script: Path, changes: dict[str, str]) -> None:
    text = script.read_text(encoding="utf-8")
    for old, new in changes.items():
        if text.count(old) != 1:
            raise RuntimeError(f"FLARE's {script.name} has changed: '{old}' is not in it once")
        text = text.replace(old, new)
    script.write_text(text, encoding="utf-8")
