//! Creates the accounts, groups, friendships and direct conversations of a swarm before the load
//! starts.

use std::io;
use std::net::SocketAddr;

use chat_core::client::SendOutcome;
use chat_core::model::{
    Command, ConversationId, ConversationRef, Draft, GroupName, MessageText, NewGroup, Note, Outcome,
};
use chat_core::testkit::Peer;

use super::client::outcome_observation;
use super::{Options, user_ref};
use crate::deadline::with_deadline;
use crate::dump::hex;
use crate::history::{Digest, Observation};
use crate::wire_client::{Account, RunContext};

/// Accounts and conversations of a swarm.
#[derive(Debug)]
pub(super) struct Setup {
    /// Ids of the groups that all users are members of.
    pub(super) groups: Vec<u64>,
    /// Id of the group that users are removed from and join again.
    pub(super) churn_group: Option<u64>,
    /// Accounts of the users, in the order of their numbers.
    pub(super) accounts: Vec<Account>,
    /// Ids of the conversations that each account sends to, in the order of `accounts`.
    pub(super) conversations: Vec<Vec<u64>>,
    /// Accounts with one device each, whose sessions replace each other.
    pub(super) takeovers: Vec<Account>,
}

impl Options {
    pub(super) fn user_name(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }
}

/// Creates accounts, groups, friendships and direct conversations.
pub(super) async fn run(context: &RunContext, options: &Options) -> io::Result<Setup> {
    let (mut peers, accounts) = enroll(context, options.users, |number| options.user_name(number)).await?;
    let (mut takeovers, takeover_accounts) = enroll(context, options.takeovers, |number| {
        format!("{}-takeover-{number}", options.name)
    })
    .await?;
    let mut groups = Vec::new();
    for number in 0..options.groups {
        let name = format!("{} crowd {number}", options.name);
        let (owner, others) = peers
            .split_first_mut()
            .ok_or_else(|| io::Error::other("a group needs at least one user"))?;
        let others = others.iter_mut().chain(&mut takeovers);
        groups.push(create_group(owner, others, &name, true).await?);
    }
    let mut conversations = vec![groups.clone(); options.users];
    let mut churn_group = None;
    if options.churn > 0 {
        let (owner, others) = peers
            .split_first_mut()
            .ok_or_else(|| io::Error::other("a group needs at least one user"))?;
        // The group has its owner and the last `churn` users, but not the users between them.
        let uninvolved = others.len().saturating_sub(options.churn);
        let name = format!("{} churn", options.name);
        let group = create_group(owner, others[uninvolved..].iter_mut(), &name, false).await?;
        conversations[0].push(group);
        conversations[uninvolved + 1..]
            .iter_mut()
            .for_each(|conversations| conversations.push(group));
        churn_group = Some(group);
    }
    for first in (0..options.users.saturating_sub(1)).step_by(2) {
        let (name, other_name) = (accounts[first].name.clone(), accounts[first + 1].name.clone());
        let request = Command::RequestFriend {
            user: user_ref(&other_name)?,
            note: Note::default(),
        };
        with_deadline("RequestFriend", peers[first].run(request)).await?;
        let accept = Command::AnswerFriend {
            user: user_ref(&name)?,
            accept: true,
        };
        with_deadline("AnswerFriend", peers[first + 1].run(accept)).await?;
        let conversation = open_direct(context, &mut peers[first], &accounts[first], &other_name).await?;
        conversations[first].push(conversation);
        conversations[first + 1].push(conversation);
    }
    Ok(Setup {
        groups,
        churn_group,
        accounts,
        conversations,
        takeovers: takeover_accounts,
    })
}

/// Registers `count` accounts, with the names that `name` returns for the numbers from 0, and logs
/// them in, distributed round-robin over the servers.
pub(crate) async fn enroll(
    context: &RunContext,
    count: usize,
    name: impl Fn(usize) -> String,
) -> io::Result<(Vec<Peer>, Vec<Account>)> {
    let (mut peers, mut accounts) = (Vec::new(), Vec::new());
    for number in 0..count {
        let server: SocketAddr = context.servers[number % context.servers.len()];
        let (peer, account) = Account::enroll(server, context.pin, &name(number)).await?;
        peers.push(peer);
        accounts.push(account);
    }
    Ok((peers, accounts))
}

/// Lets `owner` create a group and `others` join it. Returns the id of the group.
pub(crate) async fn create_group(
    owner: &mut Peer,
    others: impl Iterator<Item = &mut Peer>,
    name: &str,
    history_visible: bool,
) -> io::Result<u64> {
    let mut new_group = NewGroup::new(GroupName::parse(name).map_err(io::Error::other)?);
    new_group.history_visible = history_visible;
    let create = Command::CreateGroup(new_group);
    let Outcome::Conversation(group) = with_deadline("CreateGroup", owner.run(create)).await? else {
        return Err(io::Error::other(
            "the server answered CreateGroup without a conversation",
        ));
    };
    for other in others {
        let group = ConversationRef::Id(group.id);
        let note = Note::default();
        with_deadline("JoinGroup", other.run(Command::JoinGroup { group, note })).await?;
    }
    Ok(group.id.0)
}

/// Opens a direct conversation of `account` with `other` by sending its first message. Records the
/// message only afterwards, because the acknowledgement tells the id of the conversation. Returns
/// that id.
async fn open_direct(context: &RunContext, peer: &mut Peer, account: &Account, other: &str) -> io::Result<u64> {
    let text = MessageText::new("hello").map_err(io::Error::other)?;
    let digest = Digest::of(text.as_str().as_bytes());
    let draft = Draft::text(text);
    let message = hex(&draft.client_message_id.0);
    let conversation = ConversationRef::Direct(user_ref(other)?);
    let send = Command::Send { conversation, draft };
    let Outcome::Appended(appended) = with_deadline("Send", peer.run(send)).await? else {
        return Err(io::Error::other("the server answered Send without an acknowledgement"));
    };
    let ConversationId(conversation) = appended.conversation;
    let run = context.new_run_id();
    context.history.note(Observation::Run {
        run,
        user: account.user,
        device: format!("setup-{run}"),
        cursors: Vec::new(),
    })?;
    context.history.note(Observation::Send {
        run,
        conversation,
        message: message.clone(),
        digest,
    })?;
    context
        .history
        .note(outcome_observation(run, message, SendOutcome::Stored(appended)))?;
    Ok(conversation)
}
