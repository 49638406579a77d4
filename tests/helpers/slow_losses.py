"""The losses of the tasks once more: one object, one location, one point at a time, written from the formulas."""

from __future__ import annotations

import math
from types import SimpleNamespace

import torch

from yolocore.nn.losses import LossArguments

NC, REG_MAX, STRIDES, SIZE = 4, 16, (8, 16), 64
PROTO, NM, POINTS = SIZE // 4, 5, 3
CELLS = [(x + 0.5, y + 0.5, s) for s in STRIDES for y in range(SIZE // s) for x in range(SIZE // s)]


def fake_model(kpt_shape=(POINTS, 3), reg_max=REG_MAX, **arguments):
    """What the losses read of a model."""
    stride = torch.tensor(STRIDES, dtype=torch.float64)
    head = SimpleNamespace(nc=NC, reg_max=reg_max, stride=stride, kpt_shape=kpt_shape)
    return SimpleNamespace(head=head, args=LossArguments(**arguments))


def make(batch=2, count=5, seed=0, reg_max=REG_MAX):
    """Return random raw outputs of a head that does everything, and a batch with labels of every kind."""
    g = torch.Generator().manual_seed(seed)
    randn = lambda *s: torch.randn(*s, generator=g, dtype=torch.float64)  # noqa: E731
    rand = lambda *s: torch.rand(*s, generator=g, dtype=torch.float64)  # noqa: E731
    a = len(CELLS)
    boxes = randn(batch, 4 * reg_max, a) if reg_max > 1 else 0.5 + 2 * rand(batch, 4, a)
    raw = {
        "boxes": boxes,
        "scores": randn(batch, NC, a) - 1,
        "coefficients": randn(batch, NM, a),
        "proto": randn(batch, NM, PROTO, PROTO),
        "keypoints": randn(batch, POINTS * 3, a),
        "angle": (rand(batch, 1, a) - 0.25) * math.pi,
        "feats": [torch.zeros(batch, 1, SIZE // s, SIZE // s, dtype=torch.float64) for s in STRIDES],
    }
    xywh = torch.cat((rand(count, 2) * 0.6 + 0.2, rand(count, 2) * 0.5 + 0.1), 1)
    image = torch.randint(0, batch, (count,), generator=g)
    masks = torch.zeros(batch, PROTO, PROTO, dtype=torch.uint8 if count < 256 else torch.int32)
    numbers = [int((image[:i] == image[i]).sum()) for i in range(count)]
    for number, b, (x, y, w, h) in zip(numbers, image.tolist(), (xywh * PROTO).tolist(), strict=True):
        masks[b, round(y - h / 2) : round(y + h / 2), round(x - w / 2) : round(x + w / 2)] = number + 1
    labels = {
        "bboxes": xywh,
        "cls": torch.randint(0, NC, (count, 1), generator=g).float(),
        "batch_idx": image.float(),
        "masks": masks,
        "keypoints": torch.cat((rand(count, POINTS, 2), torch.randint(0, 3, (count, POINTS, 1), generator=g)), 2),
        "angles": rand(count, 1) * math.pi / 2,
    }
    return raw, labels


def distances(rows, a, reg_max=REG_MAX):
    """Return the four distances in cells at location ``a`` of rows (4·reg_max, A)."""
    if reg_max == 1:
        return [rows[i, a] for i in range(4)]
    parts = [rows[reg_max * i : reg_max * (i + 1), a].softmax(0) for i in range(4)]
    return [sum(k * p for k, p in enumerate(part)) for part in parts]


def ciou(a, b):
    """CIoU of two lists of scalar tensors, alpha a constant."""
    e = 1e-7
    w, h, s, t = a[2] - a[0], a[3] - a[1] + e, b[2] - b[0], b[3] - b[1] + e
    zero = torch.zeros((), dtype=torch.float64)
    inter = torch.max(zero, torch.min(a[2], b[2]) - torch.max(a[0], b[0])) * torch.max(
        zero, torch.min(a[3], b[3]) - torch.max(a[1], b[1])
    )
    iou = inter / (w * h + s * t - inter + e)
    c2 = (torch.max(a[2], b[2]) - torch.min(a[0], b[0])) ** 2 + (torch.max(a[3], b[3]) - torch.min(a[1], b[1])) ** 2 + e
    rho2 = ((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2) / 4
    v = 4 / math.pi**2 * (torch.atan(s / t) - torch.atan(w / h)) ** 2
    return iou - rho2 / c2 - (v / (v - iou + 1 + e)).detach() * v


def probiou(p, q):
    """ProbIoU of two lists x, y, w, h, r of scalar tensors, by way of the covariance matrices."""
    e = 1e-7

    def covariance(box):
        a, b, c, s = box[2] ** 2 / 12, box[3] ** 2 / 12, torch.cos(box[4]), torch.sin(box[4])
        return a * c**2 + b * s**2, a * s**2 + b * c**2, (a - b) * c * s

    (a1, b1, c1), (a2, b2, c2) = covariance(p), covariance(q)
    a, b, c = a1 + a2, b1 + b2, c1 + c2
    dx, dy = p[0] - q[0], p[1] - q[1]
    d = a * b - c**2
    t1 = (a * dy**2 + b * dx**2) / (d + e) / 4
    t2 = c * (-dx) * dy / (d + e) / 2
    root = torch.sqrt(torch.clamp((a1 * b1 - c1**2) * (a2 * b2 - c2**2), min=0))
    t3 = torch.log(d / (4 * root + e) + e) / 2
    return 1 - torch.sqrt(1 - torch.exp(-torch.clamp(t1 + t2 + t3, e, 100)) + e)


def owners(raw, objects, inside, overlap, topk=10):
    """Return {(image, location): (object, target score)}.

    ``objects`` are (class, image); ``inside(g, a)`` and ``overlap(g, a)`` judge object ``g`` at location ``a``.
    """
    u, t, claims = {}, {}, {}
    for g, (cls, image) in enumerate(objects):
        possible = [a for a in range(len(CELLS)) if inside(g, a)]
        for a in possible:
            u[g, a] = max(overlap(g, a).item(), 0)
            t[g, a] = raw["scores"][image, cls, a].sigmoid().item() ** 0.5 * u[g, a] ** 6
        for a in sorted(possible, key=lambda a: -t[g, a])[:topk]:
            claims.setdefault((image, a), []).append(g)
    owner = {place: max(c, key=lambda g: u[g, place[1]]) for place, c in claims.items()}
    result = {}
    for (image, a), g in owner.items():
        mine = [place[1] for place, o in owner.items() if o == g]
        score = t[g, a] * max(u[g, k] for k in mine) / (max(t[g, k] for k in mine) + 1e-9)
        result[image, a] = (g, score)
    return result


def objects_of(batch):
    """Return [(class, image)]."""
    return list(zip(batch["cls"].flatten().long().tolist(), batch["batch_idx"].long().tolist(), strict=True))


def class_loss(raw, objects, owned):
    """Return the class term before the gain."""
    wanted = torch.zeros_like(raw["scores"])
    for (image, a), (g, score) in owned.items():
        wanted[image, objects[g][0], a] = score
    p = raw["scores"].sigmoid()
    return -(wanted * p.log() + (1 - wanted) * (1 - p).log()).sum()


def focal(rows, a, targets):
    """Return the mean focal loss of the four sides."""
    total = 0
    for i, distance in enumerate(targets):
        distance = min(max(float(distance), 0), 14.99)
        log_p = rows[16 * i : 16 * i + 16, a].log_softmax(0)
        k = int(distance)
        total = total - log_p[k] * (k + 1 - distance) - log_p[k + 1] * (distance - k)
    return total / 4


def upright(raw, batch, reg_max=REG_MAX, topk=10):
    """Return the owners, the target boxes in pixels, and the unscaled sums box, cls, dfl, with their divisor."""
    objects = objects_of(batch)
    corners = [
        [v * SIZE for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)] for x, y, w, h in batch["bboxes"].unbind()
    ]

    def decode(b, a):
        (x, y, _), d = CELLS[a], distances(raw["boxes"][b], a, reg_max)
        return [x - d[0], y - d[1], x + d[2], y + d[3]]

    def inside(g, a):
        x, y, s = CELLS[a]
        return corners[g][0] < x * s < corners[g][2] and corners[g][1] < y * s < corners[g][3]

    def overlap(g, a):
        return ciou(corners[g], [v * CELLS[a][2] for v in decode(objects[g][1], a)])

    owned = owners(raw, objects, inside, overlap, topk)
    box = dfl = raw["boxes"].sum() * 0
    for (b, a), (g, score) in owned.items():
        x, y, s = CELLS[a]
        target = [v / s for v in corners[g]]
        box = box + (1 - ciou(decode(b, a), target)) * score
        if reg_max > 1:
            sides = (x - target[0], y - target[1], target[2] - x, target[3] - y)
            dfl = dfl + focal(raw["boxes"][b], a, sides) * score
    total = max(sum(score for _, score in owned.values()), 1)
    return owned, corners, (box / total, class_loss(raw, objects, owned) / total, dfl / total)


def mask_term(raw, batch, owned, corners, overlapping=True):
    """Return the mask term before the gain."""
    images = batch["batch_idx"].long().tolist()
    result = raw["proto"].sum() * 0
    for (b, a), (g, _) in owned.items():
        logits = sum(raw["coefficients"][b, k, a] * raw["proto"][b, k] for k in range(NM))
        number = images[:g].count(b) + 1
        x1, y1, x2, y2 = (float(v) * PROTO / SIZE for v in corners[g])
        total = 0
        for y in range(PROTO):
            for x in range(PROTO):
                if x1 <= x < x2 and y1 <= y < y2:
                    hit = batch["masks"][b, y, x] == number if overlapping else batch["masks"][g, y, x] == 1
                    total = total - torch.nn.functional.logsigmoid(logits[y, x] if hit else -logits[y, x])
        share = (corners[g][2] - corners[g][0]) * (corners[g][3] - corners[g][1]) / SIZE**2
        result = result + total / PROTO**2 / share
    return result / max(len(owned), 1)


def keypoint_terms(raw, batch, owned, corners, values=3):
    """Return the two keypoint terms before the gains."""
    pose = kobj = raw["keypoints"].sum() * 0
    for (b, a), (g, _) in owned.items():
        cx, cy, s = CELLS[a]
        area = (corners[g][2] - corners[g][0]) * (corners[g][3] - corners[g][1]) / s**2
        labels = batch["keypoints"][g]
        seen = sum(1 for k in range(POINTS) if labels[k, 2] != 0)
        for k in range(POINTS):
            row = raw["keypoints"][b, values * k : values * (k + 1), a]
            visible = bool(labels[k, 2] != 0)
            if visible:
                dx = 2 * row[0] + cx - 0.5 - labels[k, 0] * SIZE / s
                dy = 2 * row[1] + cy - 0.5 - labels[k, 1] * SIZE / s
                e = (dx**2 + dy**2) / ((2 / POINTS) ** 2 * (area + 1e-9) * 2)
                pose = pose + POINTS / (seen + 1e-9) * (1 - torch.exp(-e))
            if values == 3:
                kobj = kobj - torch.nn.functional.logsigmoid(row[2] if visible else -row[2])
    count = max(len(owned), 1) * POINTS
    return pose / count, kobj / count


def rotated(raw, batch):
    """Return the owners and the terms box, cls, dfl before the gains; ``bboxes`` (M, 5)."""
    objects = objects_of(batch)
    boxes = [[*(v * SIZE for v in row[:4]), row[4]] for row in batch["bboxes"].unbind()]

    def local(box, x, y):
        """Return (x, y) relative to the centre, in the frame of the box: by a complex number."""
        z = complex(float(x - box[0]), float(y - box[1])) * complex(math.cos(box[4]), -math.sin(box[4]))
        return z.real, z.imag

    def decode(b, a):
        (x, y, _), (left, t, r, bottom) = CELLS[a], distances(raw["boxes"][b], a)
        angle = raw["angle"][b, 0, a]
        fx, fy = (r - left) / 2, (bottom - t) / 2
        cx = fx * torch.cos(angle) - fy * torch.sin(angle) + x
        cy = fx * torch.sin(angle) + fy * torch.cos(angle) + y
        return [cx, cy, left + r, t + bottom, angle]

    def inside(g, a):
        box = boxes[g]
        if min(box[2], box[3]) < 2:
            return False
        x, y = local(box, CELLS[a][0] * CELLS[a][2], CELLS[a][1] * CELLS[a][2])
        return abs(x) < box[2] / 2 and abs(y) < box[3] / 2

    def overlap(g, a):
        found = decode(objects[g][1], a)
        return probiou(boxes[g], [*(v * CELLS[a][2] for v in found[:4]), found[4]])

    owned = owners(raw, objects, inside, overlap)
    box = dfl = raw["boxes"].sum() * 0
    for (b, a), (g, score) in owned.items():
        x, y, s = CELLS[a]
        target = [*(v / s for v in boxes[g][:4]), boxes[g][4]]
        box = box + (1 - probiou(decode(b, a), target)) * score
        dx, dy = local(target, x, y)
        w, h = target[2], target[3]
        dfl = dfl + focal(raw["boxes"][b], a, (w / 2 + dx, h / 2 + dy, w / 2 - dx, h / 2 - dy)) * score
    total = max(sum(score for _, score in owned.values()), 1)
    return owned, (box / total, class_loss(raw, objects, owned) / total, dfl / total)
