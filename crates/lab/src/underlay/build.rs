//! Making the wires, through the one door to the kernel.
