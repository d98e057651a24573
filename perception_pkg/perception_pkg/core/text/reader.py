"""Texts and codes in the regions of a picture: rapidocr for text, zxing-cpp for codes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from perception_pkg.core.regions import Region, code_kind

TEXT = "text"
MIN_HEIGHT_PX = 96  # smaller regions are enlarged: strokes of one pixel are not read well
MARGIN_PX = 12  # around a region, so that a text at its edge is found
DETECT_PX = 160  # shorter side for finding lines; twice as much takes four times as long


@dataclass(frozen=True)
class Reading:
    """One text or code in one picture.

    Attributes:
        region: in which it lies.
        kind: `text`, or the kind of code: qr, datamatrix, code128 ...
        text: what it says.
        confidences: of each character, 0..1. A code that is read is right: it has check digits.
        polygon: float64 [4, 2], corners in the whole picture [px].
    """

    region: str
    kind: str
    text: str
    confidences: tuple[float, ...]
    polygon: np.ndarray

    @property
    def confidence(self) -> float:
        """Of the least certain character; 0 without characters."""
        return min(self.confidences, default=0.0)


class TextReader:
    """Reads regions; the networks come with the rapidocr package.

    Args:
        threads: CPU threads; 0: all cores.
    """

    def __init__(self, threads: int = 1):
        from rapidocr import RapidOCR

        options = {
            "Global.log_level": "error",
            "EngineConfig.onnxruntime.intra_op_num_threads": threads or -1,
            "Det.limit_side_len": DETECT_PX,
            "Rec.rec_batch_num": 4,
        }
        self._ocr = RapidOCR(params=options)

    def read(self, image: np.ndarray, region: Region) -> list[Reading]:
        """Every code and text line of the region in uint8 [H, W, 3] RGB.

        Where a code is, no text is looked for. Text lines come from top to bottom.
        """
        crop = region.crop(image)
        scale = max(1.0, MIN_HEIGHT_PX / crop.shape[0])
        large = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        padded = cv2.copyMakeBorder(
            np.ascontiguousarray(large[..., ::-1]), *4 * (MARGIN_PX,), cv2.BORDER_REPLICATE
        )
        codes = self._codes(padded, region)
        covered = padded.copy()
        for _, _, _, polygon in codes:
            colour = tuple(float(v) for v in np.median(padded.reshape(-1, 3), 0))
            cv2.fillPoly(covered, [np.round(polygon).astype(np.int32)], colour)
        lines = [] if region.codes else self._lines(covered)
        offset = np.array(region.box[:2], float)
        return [
            Reading(region.name, kind, text, confidences, (polygon - MARGIN_PX) / scale + offset)
            for kind, text, confidences, polygon in codes + lines
        ]

    def _codes(self, image: np.ndarray, region: Region) -> list[tuple]:
        import zxingcpp

        found = []
        for code in zxingcpp.read_barcodes(image):
            kind = code_kind(code.format.name)
            if not code.valid or (region.codes and kind not in region.codes):
                continue
            where = code.position
            corners = (where.top_left, where.top_right, where.bottom_right, where.bottom_left)
            polygon = np.array([(corner.x, corner.y) for corner in corners], float)
            found.append((kind, code.text, (1.0,) * len(code.text), polygon))
        return found

    def _lines(self, image: np.ndarray) -> list[tuple]:
        from rapidocr.ch_ppocr_rec import TextRecInput
        from rapidocr.utils.process_img import get_rotate_crop_image

        boxes = self._ocr.text_det(image).boxes
        if boxes is None or not len(boxes):
            return []
        crops = [get_rotate_crop_image(image, box.astype(np.float32).copy()) for box in boxes]
        read = self._ocr.text_rec(TextRecInput(img=crops, return_word_box=True))
        lines = []
        for box, text, words in zip(boxes, read.txts, read.word_results):
            if text.strip():
                confidences = tuple(float(c) for c in words.confs[: len(text)])
                lines.append((TEXT, text, confidences, np.asarray(box, float)))
        return lines
