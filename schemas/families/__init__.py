"""The catalogue's rows, one module per family; `schemas.catalogue` joins them."""
