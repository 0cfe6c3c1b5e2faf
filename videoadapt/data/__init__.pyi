from . import annotations, datasets, lists, loaders, sampling, transforms, views, windows

__all__ = ["annotations", "datasets", "lists", "loaders", "sampling", "transforms", "views", "windows"]
