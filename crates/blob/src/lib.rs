//! How bytes are named and planned: digests, manifests, fetch plans.
