"""What every other folder may use: errors, registry, files, random state, ranking, progress, compat."""
