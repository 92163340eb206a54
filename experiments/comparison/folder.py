"""What the folder of a cell holds, by the step that writes it."""

CHOICE = "warmup.json"  # tuned: the chosen length of warmup
ASKED = "asked.json"  # train: what the training that has begun was asked to be
SAVE_DIR = "save"  # train: the save dir of scripts/train.sh
TRAINED = "trained.json"  # train: how it ended
SCORES = "scores.json"  # score: the names of its results
MEASURED = "measured.json"  # read: what was read before the checkpoints were removed
READING = "reading.json"  # read: the run, what it measured and its losses

CHECKPOINTS = ("best", "last")  # the one with the lowest validation loss, and the last; scored in blocks with BLEU
