"""Arguments of drawing and of what prediction writes."""

from __future__ import annotations

from yolocore.config.fields import Arguments, arg


class VisualiseArguments(Arguments):
    """Drawing and saving."""

    show: bool = arg(False, "Show every result in a window.", modes="PK")
    save_frames: bool = arg(False, "Write the frames of videos as single images.", modes="PK")
    save_txt: bool = arg(False, "Write one label file per image to labels/.", modes="VPK")
    save_conf: bool = arg(False, "Add the confidence to each line of these label files.", modes="VPK")
    save_crop: bool = arg(False, "Write every detection as its own image to crops/<class>/.", modes="PK")
    show_labels: bool = arg(True, "Draw class names.", modes="PKV")
    show_conf: bool = arg(True, "Draw confidences.", modes="PKV")
    show_boxes: bool = arg(True, "Draw boxes; masks and keypoints are drawn either way.", modes="PK")
    line_width: int | None = arg(
        None, "Line width in pixels; None follows the size of the image.", modes="PKV", ge=1, example=2
    )
