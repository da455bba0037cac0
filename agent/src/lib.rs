//! The binary quorate: sockets, QUIC, disk, threads, clock.
