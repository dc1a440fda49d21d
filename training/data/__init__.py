"""The dataset folder: opening and writing it, public datasets, the simulator, splits."""
