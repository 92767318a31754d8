//! Accounts, groups and friends, before anybody talks.

use std::io;
use std::net::SocketAddr;

use chat_core::client::SendOutcome;
use chat_core::model::{
    Command, ConversationId, ConversationRef, Draft, GroupName, MessageText, NewGroup, Note, Outcome,
};
use chat_core::testkit::Peer;

use super::person::told;
use super::{Options, named};
use crate::dump::hex;
use crate::history::{Digest, What};
use crate::raw::{Account, Site};
use crate::step::step;

/// Everybody, brought together.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Groups that all are in.
    pub(super) groups: Vec<u64>,
    /// The group that guests come to and are put out of.
    pub(super) club: Option<u64>,
    pub(super) people: Vec<Account>,
    /// Conversations that each of them writes to.
    pub(super) rooms: Vec<Vec<u64>>,
    pub(super) twins: Vec<Account>,
}

impl Options {
    pub(super) fn person(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }
}

/// Makes accounts, groups and friends.
pub(super) async fn gather(site: &Site, options: &Options) -> io::Result<Gathered> {
    let (mut peers, people) = enroll(site, options.users, |number| options.person(number)).await?;
    let (mut twins, twin_accounts) =
        enroll(site, options.twins, |number| format!("{}-twin-{number}", options.name)).await?;
    let mut groups = Vec::new();
    for number in 0..options.groups {
        let name = format!("{} crowd {number}", options.name);
        let (host, others) = peers.split_first_mut().ok_or_else(|| io::Error::other("nobody"))?;
        let others = others.iter_mut().chain(&mut twins);
        groups.push(found(host, others, &name, true).await?);
    }
    let mut rooms = vec![groups.clone(); options.users];
    let mut club = None;
    if options.guests > 0 {
        let (host, others) = peers.split_first_mut().ok_or_else(|| io::Error::other("nobody"))?;
        let outside = others.len().saturating_sub(options.guests);
        let name = format!("{} club", options.name);
        let made = found(host, others[outside..].iter_mut(), &name, false).await?;
        rooms[0].push(made);
        rooms[outside + 1..].iter_mut().for_each(|rooms| rooms.push(made));
        club = Some(made);
    }
    for first in (0..options.users.saturating_sub(1)).step_by(2) {
        let (one, other) = (people[first].name.clone(), people[first + 1].name.clone());
        let request = Command::RequestFriend {
            user: named(&other)?,
            note: Note::default(),
        };
        step("a friend's request", peers[first].run(request)).await?;
        let accept = Command::AnswerFriend {
            user: named(&one)?,
            accept: true,
        };
        step("an answer to it", peers[first + 1].run(accept)).await?;
        let room = open(site, &mut peers[first], &people[first], &other).await?;
        rooms[first].push(room);
        rooms[first + 1].push(room);
    }
    Ok(Gathered {
        groups,
        club,
        people,
        rooms,
        twins: twin_accounts,
    })
}

/// Lets so many people in, one after the other on each server.
pub(crate) async fn enroll(
    site: &Site,
    count: usize,
    name: impl Fn(usize) -> String,
) -> io::Result<(Vec<Peer>, Vec<Account>)> {
    let (mut peers, mut accounts) = (Vec::new(), Vec::new());
    for number in 0..count {
        let server: SocketAddr = site.servers[number % site.servers.len()];
        let (peer, account) = Account::enroll(server, site.pin, &name(number)).await?;
        peers.push(peer);
        accounts.push(account);
    }
    Ok((peers, accounts))
}

/// Founds a group that these are in.
pub(crate) async fn found(
    host: &mut Peer,
    others: impl Iterator<Item = &mut Peer>,
    name: &str,
    history_visible: bool,
) -> io::Result<u64> {
    let create = Command::CreateGroup(
        NewGroup::new(GroupName::parse(name).map_err(io::Error::other)?).history_visible(history_visible),
    );
    let Outcome::Conversation(made) = step("a new group", host.run(create)).await? else {
        return Err(io::Error::other("no group was made"));
    };
    for other in others {
        let group = ConversationRef::Id(made.id);
        let note = Note::default();
        step("a new member", other.run(Command::JoinGroup { group, note })).await?;
    }
    Ok(made.id.0)
}

/// A first message makes a conversation of two.
async fn open(site: &Site, peer: &mut Peer, account: &Account, other: &str) -> io::Result<u64> {
    let text = MessageText::new("hello").map_err(io::Error::other)?;
    let digest = Digest::of(text.as_str().as_bytes());
    let draft = Draft::text(text);
    let message = hex(&draft.client_message_id.0);
    let conversation = ConversationRef::Direct(named(other)?);
    let send = Command::Send { conversation, draft };
    let Outcome::Appended(appended) = step("a first message", peer.run(send)).await? else {
        return Err(io::Error::other("no acknowledgement"));
    };
    let ConversationId(conversation) = appended.conversation;
    let run = site.run();
    site.history.note(What::Run {
        run,
        user: account.user,
        device: format!("setup-{run}"),
        cursors: Vec::new(),
    })?;
    site.history.note(What::Send {
        run,
        conversation,
        message: message.clone(),
        digest,
    })?;
    site.history.note(told(run, message, SendOutcome::Acked(appended)))?;
    Ok(conversation)
}
