"""Is this site, server or console ready? Each check says PASS, WARN or FAIL and the fix; the result may be e-mailed."""

from fedgin.deploy.doctor.examine import Examination, examine
from fedgin.deploy.doctor.examine_kit import examine_kit

__all__ = ["Examination", "examine", "examine_kit"]
