"""One training step of yolo11n on a ready batch: the two memory formats in turn, so that foreign load hits both alike.

Prints one JSON line: seconds of forward, loss, backward and optimizer (median, lowest, highest) and the median of the
ratios of the rounds. Usage: python benchmarks/train_step.py [--imgsz 320] [--batch 16] [--reps 8] [--threads 2]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics

import torch

from yolocore.nn.tasks import DetectionModel
from yolocore.utils.torch_utils import select_device, time_sync

PARTS = ("forward", "loss", "backward", "optimizer", "total")


def make_batch(batch: int, imgsz: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Return random images with fourteen objects each."""
    generator = torch.Generator().manual_seed(0)
    count = batch * 14
    made = {
        "img": torch.rand(batch, 3, imgsz, imgsz, generator=generator),
        "cls": torch.randint(0, 80, (count, 1), generator=generator).float(),
        "bboxes": torch.rand(count, 4, generator=generator) * 0.4 + 0.15,
        "batch_idx": torch.arange(batch).repeat_interleave(14).float(),
    }
    return {key: value.to(device) for key, value in made.items()}


class Step:
    """A network with its optimizer and batch in one memory format."""

    def __init__(self, model: str, batch: dict[str, torch.Tensor], memory_format: torch.memory_format) -> None:
        self.device = batch["img"].device
        self.model = DetectionModel(model, verbose=False).to(self.device, memory_format=memory_format).train()
        self.batch = {**batch, "img": batch["img"].contiguous(memory_format=memory_format)}
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9, nesterov=True)

    def run(self) -> dict[str, float]:
        """Do one step and return the seconds of its parts."""
        times = [time_sync(self.device)]
        preds = self.model(self.batch["img"])
        times.append(time_sync(self.device))
        loss, _ = self.model.loss(self.batch, preds)
        times.append(time_sync(self.device))
        loss.sum().backward()
        times.append(time_sync(self.device))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        times.append(time_sync(self.device))
        seconds = [after - before for before, after in itertools.pairwise(times)]
        return dict(zip(PARTS, [*seconds, times[-1] - times[0]], strict=True))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="yolo11n.yaml")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--reps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    batch = make_batch(args.batch, args.imgsz, select_device(args.device))
    formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    steps = {name: Step(args.model, batch, memory_format) for name, memory_format in formats.items()}
    rounds = [{name: step.run() for name, step in steps.items()} for _ in range(args.reps + 1)][1:]
    result: dict[str, object] = {"bench": "train_step", **vars(args)}
    for name in steps:
        result[name] = {
            part: {
                "median": round(statistics.median(r[name][part] for r in rounds), 5),
                "min": round(min(r[name][part] for r in rounds), 5),
                "max": round(max(r[name][part] for r in rounds), 5),
            }
            for part in PARTS
        }
    ratios = [r["channels_last"]["total"] / r["contiguous"]["total"] for r in rounds]
    result["ratio_channels_last_to_contiguous"] = round(statistics.median(ratios), 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
