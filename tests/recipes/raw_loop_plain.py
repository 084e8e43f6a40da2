"""A training script without anything of ours: python -m tests.recipes.raw_loop_plain FOLDER."""

import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


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

for epoch in range(1, 4):
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(epoch, loss.item().hex(), flush=True)
    torch.save(model.state_dict(), folder / "weights.pt")
print("weights", nn.utils.parameters_to_vector(model.parameters()).double().sum().item().hex())
