"""Tables, figures and the environment of a result, for runs and experiments alike."""
