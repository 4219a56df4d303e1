//! `shoal cluster`: who belongs to the cluster, and its state as a whole.

mod audit;
mod backup;
mod members;
mod status;

use super::Context;
use crate::args::ClusterCommand;
use crate::{Exit, Failure};

pub(super) async fn execute(context: &Context, command: &ClusterCommand) -> Result<Exit, Failure> {
    match command {
        ClusterCommand::Status => status::show(context).await,
        ClusterCommand::Add { address } => members::add(context, address).await,
        ClusterCommand::Remove { member, force } => members::remove(context, *member, *force).await,
        ClusterCommand::TransferLeader { member } => {
            members::transfer_leader(context, *member).await
        }
        ClusterCommand::Snapshot { file } => backup::snapshot(context, file).await,
        ClusterCommand::Audit { data_dir } => audit::show(context, data_dir),
        ClusterCommand::Restore { file, data_dir } => {
            backup::restore(context, file, data_dir).await
        }
    }
}
