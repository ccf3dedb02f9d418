"""The formats of archives by name."""

from collections.abc import Callable
from pathlib import Path

from fedgin.data.importers.amos22 import read_amos22
from fedgin.data.importers.archive import Archive
from fedgin.data.importers.btcv import read_btcv
from fedgin.data.importers.chaos import read_chaos
from fedgin.data.importers.decathlon import read_decathlon
from fedgin.data.importers.mmwhs import read_mmwhs
from fedgin.data.importers.nnunet import read_nnunet
from fedgin.data.importers.totalsegmentator import read_totalsegmentator

READERS: dict[str, Callable[[Path], Archive]] = {
    "amos22": read_amos22,
    "btcv": read_btcv,
    "chaos": read_chaos,
    "decathlon": read_decathlon,
    "mmwhs": read_mmwhs,
    "nnunet": read_nnunet,
    "totalsegmentator": read_totalsegmentator,
}
