"""Saving and loading: safetensors files with hashes, written atomically, read strictly."""

from .checkpoint import load_checkpoint, load_tensors, save_checkpoint, save_tensors

__all__ = ["load_checkpoint", "load_tensors", "save_checkpoint", "save_tensors"]
