"""Recommends with an exported model: python examples/load_model.py FOLDER ITEM [ITEM ...]

`sracl export RUN --what model --out FOLDER` makes the folder. This needs torch and the package `engine`, nothing else of sracl:
no database, no language model, no text.
"""

import sys

from engine.recommend import load_model

folder, *history = sys.argv[1:]
model = load_model(folder)
print(f"{model.model.backbone} of {model.about['run_id']}, {len(model.item_ids):,} items")

# A history is the source's own item ids, oldest first; without one, the model's first three items stand in.
history = history or model.item_ids[:3]
for rank, (item, score) in enumerate(model.recommend([history], k=10, mask_seen=True)[0], 1):
    print(f"{rank:>2} {score:8.3f} {item:>12}  {model.titles[model.numbers[item] - 1]}")
