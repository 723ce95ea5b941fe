"""Tables, figures and claims, made from run records alone (no stage of the pipeline is imported, nor torch)."""
