//! Seeded network emulation in virtual time, and the same network as a real-time UDP forwarder
