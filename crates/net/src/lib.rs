//! Sockets: tonic services and links, conversions between wire and domain.
