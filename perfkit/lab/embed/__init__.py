"""The parts of the rig `vertex`: what is asked, the model, and playing against the emulator."""
