//! What Shoal promises, one operation at a time.

mod life;

mod numbers;

mod register;

pub use life::{Life, LifeAnswer, LifeCall, Phase};
pub use numbers::{Misplaced, NumberAnswer, NumberCall, Numbers, in_order};
pub use register::{Register, RegisterCall};
