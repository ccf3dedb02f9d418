"""Is this machine ready to take part? Each check says PASS, WARN or FAIL and the fix; the result may be e-mailed."""

from fedgin.deploy.doctor.examine import Examination, examine

__all__ = ["Examination", "examine"]
