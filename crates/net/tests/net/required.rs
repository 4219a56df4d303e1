//! REQUIRED means required: every RPC of the contract is called without each of its required fields in turn, with raw bytes,
//! as any stranger could.

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, Value,
};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::host::Host;
use crate::support::soon;

/// Sends and takes bytes as they are.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

fn is_required(pool: &DescriptorPool, field: &FieldDescriptor) -> bool {
    let behavior = pool
        .get_extension_by_name("google.api.field_behavior")
        .unwrap();
    match field.options().get_extension(&behavior).as_ref() {
        Value::List(values) => values.contains(&Value::EnumNumber(2)),
        _ => false,
    }
}

fn sample(field: &FieldDescriptor) -> Value {
    let one = match field.kind() {
        Kind::String => Value::String("x".to_owned()),
        Kind::Bytes => Value::Bytes(Bytes::from_static(b"x")),
        Kind::Int64 => Value::I64(1),
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Message(message) => Value::Message(DynamicMessage::new(message)),
        other => panic!("{}: give a sample of {other:?}", field.full_name()),
    };
    if field.is_list() {
        Value::List(vec![one])
    } else {
        one
    }
}

/// The status of a call with one message, whatever kind of call it is.
async fn call(
    channel: &Channel,
    method: &MethodDescriptor,
    message: &DynamicMessage,
) -> Option<Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name())
        .parse()
        .unwrap();
    let request = Request::new(tokio_stream::once(Bytes::from(message.encode_to_vec())));
    match grpc.streaming(request, path, Raw).await {
        Err(status) => Some(status),
        Ok(answers) => answers.into_inner().message().await.err(),
    }
}

#[tokio::test]
async fn every_required_field_is_enforced() {
    let host = Host::new();
    let server = host.serve().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let pool = DescriptorPool::decode(contract::DESCRIPTORS).unwrap();
    let mut checked = 0;
    let services = pool
        .services()
        .filter(|service| service.full_name().starts_with("shoal.v1."));
    for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let input = method.input();
        let required: Vec<_> = input
            .fields()
            .filter(|field| is_required(&pool, field))
            .collect();
        for left_out in &required {
            let mut message = DynamicMessage::new(input.clone());
            for field in required.iter().filter(|field| *field != left_out) {
                message.set_field(field, sample(field));
            }
            let status = soon(call(&channel, &method, &message))
                .await
                .unwrap_or_else(|| {
                    panic!(
                        "{} is answered without {}",
                        method.full_name(),
                        left_out.name()
                    )
                });
            assert_eq!(
                status.code(),
                Code::InvalidArgument,
                "{}",
                left_out.full_name()
            );
            let details = status.get_error_details();
            let fields: Vec<_> = details
                .bad_request()
                .unwrap()
                .field_violations
                .iter()
                .map(|bad| &*bad.field)
                .collect();
            assert_eq!(fields, [left_out.name()], "{}", method.full_name());
            assert_eq!(details.error_info().unwrap().reason, "INVALID_FIELD");
            checked += 1;
        }
    }
    assert!(checked >= 25, "only {checked} required fields were found");
    drop(channel);
    server.stop().await;
}
