"""How every command speaks and ends: options, results, errors, exit codes, words of a language."""
