"""The longer recipe tables, one file a method: {recipe: {dataset or "default": settings of the method's Config}}."""
