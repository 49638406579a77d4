"""How the camera moved between two frames, seen in the background, and what that does to tracks."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from yolocore.trackers.config import GmcMethod

    Affine = NDArray[np.float64]
    Gray = NDArray[np.uint8]

LONG_SIDE: Final = 960  # images are looked at in half size, or smaller when they are larger than twice this
CORNERS: Final = {"maxCorners": 1000, "qualityLevel": 0.01, "minDistance": 1, "blockSize": 3}
SMALLEST: Final = 16  # pixels of the shorter side of what is looked at; OpenCV fails on images of a pixel or two
FEWEST: Final = 5  # pairs of points below which nothing is concluded
AGREED: Final = 0.1  # share of the pairs that, beside the fewest, has to follow one motion; after a cut less does
BORDER: Final = 0.02  # share of the image at each side in which features are not trusted
CLEARER: Final = 0.9  # the best match of a feature has to be this much nearer than the second
FARTHEST: Final = 0.25  # of the image: a longer jump is a wrong match
CORRELATED: Final = 0.5  # least correlation of aligned images: 0.1 after a cut, 0.98 in a video
ECC_STEPS: Final = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)


class View(NamedTuple):
    """A frame: the small gray image (H, W), and corners, features or background mask."""

    gray: Gray
    seen: Any


def still() -> Affine:
    """Return the motion (2, 3) of a camera that stands still."""
    return np.eye(2, 3)


class CameraMotion:
    """Finds the motion of the camera from frame to frame: rotation, zoom and shift.

    Args:
        method: ``sparseOptFlow`` (corners followed by Lucas-Kanade), ``orb`` or ``sift`` (features matched),
            ``ecc`` (images aligned; rotation and shift only) or ``none``.
    """

    def __init__(self, method: GmcMethod = "sparseOptFlow") -> None:
        self.method = method
        self._compare = COMPARE.get(method)
        self.reset()

    def reset(self) -> None:
        """Forget the last image: the next one has nothing to be compared with."""
        self._last: View | None = None

    def between(self, image: NDArray[np.uint8], xywh: NDArray[np.float64]) -> Affine:
        """Return the motion since the image before.

        Args:
            image: (H, W, 3) BGR or (H, W) gray, uint8.
            xywh: (N, 4) boxes, centre and size in pixels, of things that move by themselves.

        Returns:
            (2, 3) affine map of pixels of the last image to pixels of this one; the identity for the first image,
            after a change of size, and where too little can be recognised: after a cut, in a blank image.
        """
        if self._compare is None:
            return still()
        scale = min(0.5, LONG_SIDE / max(image.shape[:2]))
        if min(image.shape[:2]) * scale < SMALLEST:
            self.reset()
            return still()
        gray = self._smaller(image, scale)
        now = View(gray, self._see(gray, self._background(gray, xywh * scale)))
        last, self._last = self._last, now
        if last is None or last.gray.shape != gray.shape:
            return still()
        affine = self._compare(last, now)
        return still() if affine is None else np.concatenate([affine[:, :2], affine[:, 2:] / scale], 1)

    @staticmethod
    def _smaller(image: NDArray[np.uint8], scale: float) -> Gray:
        small: Any = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY) if small.ndim == 3 else small

    @staticmethod
    def _background(gray: Gray, xywh: NDArray[np.float64]) -> Gray:
        """Return a mask: 255 where neither the border nor a detection is."""
        h, w = gray.shape
        mask = np.zeros((h, w), np.uint8)
        mask[int(BORDER * h) : int((1 - BORDER) * h), int(BORDER * w) : int((1 - BORDER) * w)] = 255
        corners = np.concatenate([xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2], 1)
        for left, top, right, bottom in np.clip(corners, 0, max(h, w)).astype(int).tolist():
            mask[top : bottom + 1, left : right + 1] = 0
        return mask

    def _see(self, gray: Gray, mask: Gray) -> Any:
        """Return what the next image will be compared with."""
        if self.method == "sparseOptFlow":
            return cv2.goodFeaturesToTrack(gray, mask=mask, **CORNERS)  # type: ignore[call-overload]
        if self.method in {"orb", "sift"}:
            detector: Any = cv2.ORB.create(1000) if self.method == "orb" else cv2.SIFT.create(1000)
            return detector.detectAndCompute(gray, mask)
        return mask


def followed(last: View, now: View) -> Affine | None:
    """Return the motion (2, 3) of the corners of ``last`` into ``now``."""
    if last.seen is None:
        return None
    there, found, _ = cv2.calcOpticalFlowPyrLK(last.gray, now.gray, last.seen, None)  # type: ignore[call-overload]
    good = found.ravel() == 1
    return similarity(last.seen.reshape(-1, 2)[good], there.reshape(-1, 2)[good])


def matched(last: View, now: View) -> Affine | None:
    """Return the motion (2, 3) of the features of ``last`` that ``now`` shows as well."""
    (points, words), (points_now, words_now) = last.seen, now.seen
    if words is None or words_now is None or len(words_now) < 2:
        return None
    norm = cv2.NORM_HAMMING if words.dtype == np.uint8 else cv2.NORM_L2  # of ORB, of SIFT
    pairs = cv2.BFMatcher(norm).knnMatch(words, words_now, k=2)
    clear = [a for a, b in pairs if a.distance < CLEARER * b.distance]
    before = np.array([points[a.queryIdx].pt for a in clear], np.float32).reshape(-1, 2)
    after = np.array([points_now[a.trainIdx].pt for a in clear], np.float32).reshape(-1, 2)
    near = (np.abs(after - before) < FARTHEST * np.array(now.gray.shape[::-1])).all(1)
    return similarity(before[near], after[near])


def aligned(last: View, now: View) -> Affine | None:
    """Return the rotation and shift (2, 3) at which the images correlate best; sizes of things do not change."""
    affine: Any = np.eye(2, 3, dtype=np.float32)
    try:
        mask = last.seen & now.seen  # OpenCV has one mask, for the new image; where things were is nearly there too
        alike, affine = cv2.findTransformECC(last.gray, now.gray, affine, cv2.MOTION_EUCLIDEAN, ECC_STEPS, mask, 1)
    except cv2.error:  # the images do not correlate
        return None
    return affine.astype(np.float64) if alike >= CORRELATED else None


COMPARE: Final[Mapping[str, Callable[[View, View], Affine | None]]] = MappingProxyType(
    {"sparseOptFlow": followed, "orb": matched, "sift": matched, "ecc": aligned}
)


def similarity(before: NDArray[np.float32], after: NDArray[np.float32]) -> Affine | None:
    """Return the rotation, zoom and shift (2, 3) that points (N, 2) agree on, or ``None`` where too few do."""
    if len(before) < FEWEST:
        return None
    affine: Any
    affine, agrees = cv2.estimateAffinePartial2D(before, after, method=cv2.RANSAC)
    if affine is None or agrees.sum() < FEWEST + AGREED * len(before):
        return None
    return affine


def move(
    mean: NDArray[np.float64], cov: NDArray[np.float64], affine: Affine
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return states of ``size`` filters (see :class:`BoxFilter`) after a motion of the camera.

    Centres and their velocities are mapped; sizes are multiplied by the zoom. Covariances of x with y, which a
    rotation would cause, are left out: for the degree or so between two frames they are below the noise.

    Args:
        mean: (N, 2, 4).
        cov: (N, 3, 4).
        affine: (2, 3).
    """
    turn = affine[:, :2]
    zoom = math.sqrt(abs(turn[0, 0] * turn[1, 1] - turn[0, 1] * turn[1, 0]))
    moved = np.concatenate([mean[..., :2] @ turn.T, mean[..., 2:] * zoom], -1)
    moved[:, 0, :2] += affine[:, 2]
    return moved, np.concatenate([cov[..., :2] @ (turn**2).T, cov[..., 2:] * zoom**2], -1)
