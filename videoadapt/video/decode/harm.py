"""How far damage reaches, and what a decoder invents before its first start."""

import av
from av.video.frame import PictureType

from videoadapt.video.decode.bitstream import Start
from videoadapt.video.decode.index import Begin, Index

_INTRA = {PictureType.NONE, PictureType.I, PictureType.SI, PictureType.BI}


def is_intra(frame: av.VideoFrame) -> bool:
    """Whether the decoder says that it refers to no other, or does not say."""
    return frame.key_frame or frame.pict_type in _INTRA


class Harm:
    """Damage while decoding: which frames it reaches, and when it is over.

    Before the first start, all is harmed: what a decoder makes of pictures that refer to nothing is invented.
    """

    def __init__(self, index: Index, begin: Begin) -> None:
        self._index, self._begin = index, begin
        self._earliest: int | None = begin.place - 1  # places in decoding order, of damage that is not over
        self._latest = begin.place - 1
        self._begun = False

    @property
    def is_spreading(self) -> bool:
        """Whether there was damage, and no start since."""
        return self._earliest is not None and self._begun

    def at(self, place: int) -> None:
        """There is damage."""
        self._earliest = place if self._earliest is None or not self._begun else self._earliest
        self._latest, self._begun = max(self._latest, place), True

    def spares(self, frame: av.VideoFrame, place: int) -> bool:
        """Whether a frame that comes out, of the packet at ``place``, is intact."""
        timed = bool(self._index.places)
        if self._earliest is not None and self._is_over(frame, place, timed):
            self._earliest, self._begun = None, True
        if frame.is_corrupt:
            self.at(place)
        return self._earliest is None or (timed and self._begun and place < self._earliest)

    def _is_over(self, frame: av.VideoFrame, place: int, timed: bool) -> bool:
        """A count never recovers from damage: how many frames were lost is unknown."""
        intra = is_intra(frame)
        if not self._index.told:
            return intra and place > self._latest and (timed or not self._begun)
        if not timed:
            return not self._begun and intra
        if place <= self._latest:
            return False
        start = self._index.marks[place].look.start
        if start >= Start.OPEN or self._begun:
            return intra and start >= (Start.OPEN if not frame.key_frame else Start.INTRA)
        return self._withheld(frame, place, intra)

    def _withheld(self, frame: av.VideoFrame, place: int, intra: bool) -> bool:
        """At the head of a file: an intra picture, or what follows those that a decoder withheld after a start."""
        for number in range(self._begin.place, place + 1):
            mark = self._index.marks[number]
            if mark.look.start:
                return intra if number == place else mark.pts is not None and (frame.pts or 0) > mark.pts
        return False
