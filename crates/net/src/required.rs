//! Fields that the contract marks as REQUIRED: the annotation is read from the descriptors and enforced for every request,
//! so that it is true.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use contract::api::ErrorReason;
use coordinator::Refusal;
use prost::Name;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};
use prost_reflect::{DescriptorPool, MessageDescriptor, Value};

/// `google.api.FieldBehavior.REQUIRED`.
const REQUIRED: i32 = 2;

/// By full name of a message: number and name of each required field.
type Table = BTreeMap<String, Vec<(u32, String)>>;

static TABLE: LazyLock<Table> =
    LazyLock::new(|| match DescriptorPool::decode(contract::DESCRIPTORS) {
        Ok(pool) => table(&pool),
        Err(error) => unreachable!("the contract's own descriptors: {error}"),
    });

fn table(pool: &DescriptorPool) -> Table {
    let Some(behavior) = pool.get_extension_by_name("google.api.field_behavior") else {
        unreachable!("the contract imports google/api/field_behavior.proto")
    };
    let required = |message: &MessageDescriptor| {
        let fields = message.fields().filter(|field| {
            match field.options().get_extension(&behavior).as_ref() {
                Value::List(values) => values.contains(&Value::EnumNumber(REQUIRED)),
                _ => false,
            }
        });
        fields
            .map(|field| (field.number(), field.name().to_owned()))
            .collect::<Vec<_>>()
    };
    pool.all_messages()
        .map(|message| (message.full_name().to_owned(), required(&message)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect()
}

/// Checks that every required field of a request is there. A field with its default value counts as missing, as it does on
/// the wire.
///
/// # Errors
/// `INVALID_FIELD` that names every missing field.
pub fn check<M: Name>(request: &M) -> Result<(), Refusal> {
    let Some(required) = TABLE.get(&M::full_name()) else {
        return Ok(());
    };
    let given = given(&request.encode_to_vec());
    let missing: Vec<&str> = required
        .iter()
        .filter(|(number, _)| !given.contains(number))
        .map(|(_, name)| name.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("{} must be given", missing.join(", "));
    let refusal = Refusal::new(ErrorReason::InvalidField, message);
    Err(missing.into_iter().fold(refusal, |refusal, name| {
        refusal.violation(name, "must be given")
    }))
}

/// Numbers of the fields that an encoded message holds.
fn given(mut encoded: &[u8]) -> Vec<u32> {
    let mut numbers = Vec::new();
    while encoded.has_remaining() {
        // The bytes come from our own encoder; the walk ends at what it does not know.
        let Ok((number, wire_type)) = decode_key(&mut encoded) else {
            break;
        };
        if skip_field(wire_type, number, &mut encoded, DecodeContext::default()).is_err() {
            break;
        }
        debug_assert_ne!(wire_type, WireType::EndGroup);
        numbers.push(number);
    }
    numbers
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use contract::api;

    fn check_all(request: &impl Name, expected: &[&str]) {
        let got = match check(request) {
            Ok(()) => Vec::new(),
            Err(refusal) => refusal
                .violations
                .into_iter()
                .map(|violation| violation.field)
                .collect(),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn all_missing_fields_are_named_at_once() {
        let mut request = api::CreatePipelineRequest::default();
        check_all(&request, &["parent", "request_id", "config", "blueprint"]);
        request.parent = "projects/a".to_owned();
        request.config = vec![b'-'; 100_000].into();
        check_all(&request, &["request_id", "blueprint"]);
        request.request_id = "x".to_owned();
        request.blueprint = "x".to_owned();
        check_all(&request, &[]);
    }

    #[test]
    fn a_message_without_required_fields_passes() {
        check_all(&api::GetClusterRequest::default(), &[]);
        check_all(&api::ListWorkersRequest::default(), &[]);
    }

    /// The check looks at the top of a message only; it would have to be made deeper for this to be allowed.
    #[test]
    fn only_requests_have_required_fields() {
        for name in TABLE.keys() {
            assert!(
                name.ends_with("Request"),
                "{name} has a REQUIRED field and is no request"
            );
        }
        assert!(TABLE.len() > 15);
    }
}
