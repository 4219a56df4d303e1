//! What should run where: problem, solve, assignments.
