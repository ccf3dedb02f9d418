"""Where the tests find what the repository ships."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
JOBS = ROOT / "jobs"
# The jobs that train; jobs/evaluate has no experiment until a bundle completes it.
TRAINING_JOBS = sorted(path.parents[2] for path in JOBS.glob("*/app/config/experiment.yaml"))
