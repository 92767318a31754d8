//! The commands `devices` and `devices revoke`.

use chat_core::commands::Commands;
use chat_core::model::DeviceId;

use crate::args::DeviceCommand;
use crate::command_client::CommandClient;
use crate::failure::Failure;
use crate::output::{DeviceLine, DoneLine, Output};

pub(super) async fn devices(
    client: &CommandClient,
    command: Option<DeviceCommand>,
    output: &mut Output,
) -> Result<(), Failure> {
    let Some(DeviceCommand::Revoke { id }) = command else {
        let devices = client.devices().await?;
        return output.print_list(devices.iter().map(DeviceLine::from));
    };
    let device: DeviceId = id
        .parse()
        .map_err(|_| Failure::usage(format!("{id:?} is not a device id; `chat-client devices` lists them")))?;
    client.revoke_device(device).await?;
    output.print(&DoneLine::new("revoke", format!("revoked device {device}")))
}
