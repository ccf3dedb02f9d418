"""What a browser makes of pages: Chromium, started once for all of them, without its driver."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# A frame has a window of its own, in which a page is laid out as on a screen of that width.
HARNESS = """<!doctype html><title>harness</title><body><script>
const seen = {};
addEventListener("load", () => {
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument.documentElement;
    const loaded = frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name);
    seen[frame.id] = {overflow: page.scrollWidth - page.clientWidth, text: page.innerText.length,
      loaded: loaded.filter(name => !name.startsWith("data:"))};
  }
  document.body.innerHTML = "<pre id=seen></pre>";
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>%s</body>"""


@dataclass(frozen=True)
class Seen:
    """One page at one width.

    Attributes:
        overflow: pixels that it is wider than its window.
        text: letters that are shown.
        loaded: addresses of what it loaded, besides itself and what it carries.
        console: what it wrote to the console, and what the browser wrote there about it.
    """

    overflow: int
    text: int
    loaded: list[str]
    console: list[str]


def look_at(pages: Sequence[Path], widths: Sequence[int], folder: Path) -> dict[tuple[str, int], Seen]:
    """Open every page at every width in one browser."""
    frames = [
        f'<iframe id="{page.stem} {width}" src="{page.resolve().as_uri()}" '
        f'width="{width}" height="800" style="border: 0"></iframe>'
        for page in pages
        for width in widths
    ]
    harness = folder / "harness.html"
    harness.write_text(HARNESS % "".join(frames), encoding="utf-8")
    done = run_chromium("--dump-dom", harness.resolve().as_uri(), profile=folder / "profile")
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout)
    assert found, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return {
        (name.rsplit(" ", 1)[0], int(name.rsplit(" ", 1)[1])): Seen(
            **values, console=[line for line in console if f"/{name.rsplit(' ', 1)[0]}.html" in line]
        )
        for name, values in json.loads(found[1].replace("&amp;", "&")).items()
    }


def run_chromium(*arguments: str, profile: Path) -> "subprocess.CompletedProcess[str]":
    """Run Chromium without a window to its end; no name can be resolved, so that nothing comes from the network."""
    program = shutil.which("chromium")
    assert program, "Chromium is missing: apt-get install chromium"
    return subprocess.run(
        [
            program,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *("--disable-background-networking", "--no-first-run", "--disable-extensions"),
            *("--allow-file-access-from-files", "--host-resolver-rules=MAP * ~NOTFOUND"),
            *("--enable-logging=stderr", f"--user-data-dir={profile}"),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
