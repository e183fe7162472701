"""What a person is told of her case: a plain notice at every change, handed over by a worker."""
