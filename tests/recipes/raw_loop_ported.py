"""That script with a loop of ours: python -m tests.recipes.raw_loop_ported FOLDER."""

import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from footplate.recipes.raw_loop import setup


class Points(Dataset):
    """Points, each time with other noise; it takes a while to load one."""

    def __init__(self):
        self.x = torch.randn(80, 4)
        self.y = (self.x.sum(1) > 0).long()

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        time.sleep(0.002)
        return self.x[index] + 0.1 * torch.randn(4), self.y[index]


folder = Path(sys.argv[1])
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
loader = DataLoader(Points(), batch_size=8, shuffle=True)

loop = setup(model, optimizer, loader, device="cpu", checkpoints=folder, resume=True)
for epoch in loop.epochs(3):
    for x, y in loop.batches():
        loss = F.cross_entropy(model(x), y)
        loop.update(loss)
        print(epoch, loss.item().hex(), flush=True)
    loop.save()
print("weights", nn.utils.parameters_to_vector(model.parameters()).double().sum().item().hex())
