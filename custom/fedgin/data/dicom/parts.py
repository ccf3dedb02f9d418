"""Take a series apart where it holds more than one volume."""

from fedgin.data.dicom.header import Facts
from fedgin.data.dicom.scan import Series

# Values of ImageType that scanners give to scout images.
_SCOUTS = frozenset(("LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOSCOPE"))


def is_localiser(facts: Facts) -> bool:
    """Tell whether an image is a scout, on which the slices were planned."""
    return not _SCOUTS.isdisjoint(facts.image_type)


def split_series(series: Series) -> list[Series]:
    """Return the series, and its scout images as another one if it has both."""
    scouts = [item for item in series.slices if is_localiser(item.facts)]
    if len(scouts) in (0, len(series.slices)):
        return [series]
    slices = [item for item in series.slices if not is_localiser(item.facts)]
    return [Series(series.key, slices, series.lost), Series(f"{series.key}|localiser", scouts)]
