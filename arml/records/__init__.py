"""What a record is: how it is written, kept, read and believed. No torch, no Hydra."""
