//! What Shoal promises, one operation at a time.

mod life;

mod numbers;

mod register;

pub use life::{Life, LifeAnswer, LifeCall, Phase};
pub use numbers::{NumberAnswer, NumberCall, Numbers};
pub use register::{Register, RegisterCall};
