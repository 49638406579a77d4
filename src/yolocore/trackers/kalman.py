"""Constant-velocity Kalman filters for boxes, for all tracks at once.

Transition, measurement and all noises treat the four coordinates of a box separately, so the eight-dimensional filter
of SORT and its successors falls apart into four filters of two states, position and velocity, without approximation.
Their covariances are three numbers each and every step is elementwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Shape = Literal["aspect", "size"]
POSITION: Final = 1 / 20  # standard deviations, as a share of the size of the box
VELOCITY: Final = 1 / 160
BIRTH: Final = (2.0, 10.0)  # how much wider position and velocity of a new track are
RATIO: Final = (1e-2, 1e-5, 1e-1)  # of width / height: process position and velocity, measurement


class BoxFilter:
    """Filters the coordinates of boxes.

    Noise follows Wojke et al., "Simple Online and Realtime Tracking with a Deep Association Metric" (2017) for
    ``aspect``, Aharon et al., "BoT-SORT" (2022), equations 3 to 7, for ``size``.

    Args:
        shape: the third coordinate: ``aspect``: centre x, centre y, width / height, height (ByteTrack);
            ``size``: centre x, centre y, width, height (BoT-SORT).
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.steady = (3,) if shape == "aspect" else (2, 3)  # velocities that a lost track does not keep

    def report(self, position: Floats, z: Floats) -> Floats:
        """Return the boxes (N, 4), centre and size, to show for positions (N, 4) and their last measurements (N, 4).

        Those of the filter, but the ratio as measured: this filter follows a walking person's ratio so slowly that
        boxes get worse than the detections were (on MOT17-02 by 1.4 points of HOTA).
        """
        if self.shape == "aspect":
            position = np.concatenate([position[:, :2], z[:, 2:3], position[:, 3:]], 1)
        return self.boxes(position)

    def measure(self, xywh: Floats) -> Floats:
        """Turn boxes (N, 4), centre and size, into measurements (N, 4)."""
        z = np.array(xywh, np.float64)
        if self.shape == "aspect":
            z[:, 2] /= np.maximum(z[:, 3], 1e-9)
        return z

    def boxes(self, position: Floats) -> Floats:
        """Turn positions (N, 4) back into boxes (N, 4), centre and size."""
        xywh = np.array(position)
        if self.shape == "aspect":
            xywh[:, 2] *= xywh[:, 3]
        return xywh

    def begin(self, z: Floats) -> tuple[Floats, Floats]:
        """Return the state of new tracks.

        Args:
            z: measurements (N, 4).

        Returns:
            mean (N, 2, 4): position and velocity; covariance (N, 3, 4): of the position, of position with
            velocity, of the velocity.
        """
        mean = np.stack([z, np.zeros_like(z)], 1)
        position, velocity, _ = self._deviations(z)
        if self.shape == "aspect":
            free = np.array([1.0, 1.0, 0.0, 1.0])  # the ratio begins as certain as it goes on
            wide = [1 + free * (factor - 1) for factor in BIRTH]
        else:
            wide = [np.full(4, factor) for factor in BIRTH]
        return mean, np.stack([(wide[0] * position) ** 2, np.zeros_like(z), (wide[1] * velocity) ** 2], 1)

    def predict(self, mean: Floats, cov: Floats) -> tuple[Floats, Floats]:
        """Move the state (see :meth:`begin`) on by one frame."""
        position, velocity, _ = self._deviations(mean[:, 0])
        pp, pv, vv = cov[:, 0], cov[:, 1], cov[:, 2]
        moved = np.stack([mean[:, 0] + mean[:, 1], mean[:, 1]], 1)
        return moved, np.stack([pp + 2 * pv + vv + position**2, pv + vv, vv + velocity**2], 1)

    def update(self, mean: Floats, cov: Floats, z: Floats) -> tuple[Floats, Floats]:
        """Correct the state (see :meth:`begin`) by measurements (N, 4)."""
        pp, pv, vv = cov[:, 0], cov[:, 1], cov[:, 2]
        _, _, noise = self._deviations(mean[:, 0])
        total = np.maximum(pp + noise**2, np.finfo(np.float64).tiny)  # a box without width or height has no noise
        gain_p, gain_v = pp / total, pv / total
        wrong = z - mean[:, 0]
        corrected = np.stack([mean[:, 0] + gain_p * wrong, mean[:, 1] + gain_v * wrong], 1)
        return corrected, np.stack([pp * (1 - gain_p), pv * (1 - gain_p), vv - gain_v * pv], 1)

    def _deviations(self, position: Floats) -> tuple[Floats, Floats, Floats]:
        """Return standard deviations (N, 4): of the process, position and velocity, and of the measurement."""
        if self.shape == "size":
            size = position[:, [2, 3, 2, 3]]
            return size * POSITION, size * VELOCITY, size * POSITION
        height = np.repeat(position[:, 3:4], 4, 1)
        out = height * POSITION, height * VELOCITY, height * POSITION
        for values, ratio in zip(out, RATIO, strict=True):
            values[:, 2] = ratio
        return out
