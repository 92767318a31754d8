//! Operator action that exports an account.

use std::collections::VecDeque;

use super::accounts::MAX_PAGE;
use super::deletion::{RANGE_EVENTS, ranges};
use super::{ExportRecord, ExportedEvent, ExportedMembership, InboxEntry, Operator};
use crate::engine::error::CommandError;
use crate::engine::operations::operator::RecordAction;
use crate::engine::views::user_infos;
use crate::model::{Account, ContactInfo, ConversationId, ConversationKind, Seq, UserId, UserInfo, UserRef};

/// An export of one account, read page by page: the profile, the devices, the contacts, the
/// memberships, and everything that the user wrote in conversations: messages, edits, reactions,
/// and names and descriptions of groups. The export also contains the inbox, including events from
/// other users and the system, but not recalls of messages in it.
///
/// It does not contain messages of other users, the notes of the user's requests in the inboxes of
/// other users, or the records about the user in the audit log.
///
/// The pages are read one after the other, so what the user writes or changes during the export may
/// be missing.
#[derive(Debug)]
pub struct AccountExport {
    operator: Operator,
    account: Account,
    next: Part,
    /// Last contact that was read.
    last_contact: UserId,
    /// Last conversation whose membership was read.
    last_conversation: ConversationId,
    /// Ranges of logs that are still to be read, in order.
    ranges: VecDeque<LogRange>,
}

/// Range of a log that is still to be read.
#[derive(Clone, Copy, Debug)]
struct LogRange {
    conversation: ConversationId,
    is_inbox: bool,
    first: Seq,
    last: Seq,
}

/// Next part of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Account,
    Contacts,
    Conversations,
    Done,
}

impl Operator {
    /// Starts an export of an account, deleted or not, and records it in the audit log.
    /// [`AccountExport`] lists what the export contains.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such account.
    pub async fn export_account(&self, user: impl Into<UserRef>) -> Result<AccountExport, CommandError> {
        let account = self.find_account(&user.into()).await?;
        let user = account.id;
        self.spawn(|this| async move {
            let record = RecordAction {
                audit: this.audit_context(),
                kind: "account.export",
                user,
                detail: String::new(),
            };
            this.parts.access.run(user, record).await
        })
        .await?;
        Ok(AccountExport {
            operator: self.clone(),
            account,
            next: Part::Account,
            last_contact: UserId(0),
            last_conversation: ConversationId(0),
            ranges: VecDeque::new(),
        })
    }
}

impl AccountExport {
    /// Returns the next records, or `None` after the last one. A page is never empty.
    ///
    /// # Errors
    /// [`CommandError`]: the store failed. Call this method again to continue.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ExportRecord>>, CommandError> {
        loop {
            let page = match self.next {
                Part::Account => self.read_account().await?,
                Part::Contacts => self.read_contacts().await?,
                Part::Conversations => self.read_conversations().await?,
                Part::Done => return Ok(None),
            };
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
    }

    /// Reads the profile and the devices.
    async fn read_account(&mut self) -> Result<Vec<ExportRecord>, CommandError> {
        let devices = self.operator.devices(&self.account).await?;
        self.next = Part::Contacts;
        let profile = ExportRecord::Profile(self.account.clone().into());
        let devices = devices.into_iter().map(ExportRecord::Device);
        Ok(std::iter::once(profile).chain(devices).collect())
    }

    /// Reads the next page of contacts. The page may be empty.
    async fn read_contacts(&mut self) -> Result<Vec<ExportRecord>, CommandError> {
        let access = &self.operator.parts.access;
        let page = access.store().contacts(self.account.id, self.last_contact, MAX_PAGE);
        let contacts = access.read(page).await?;
        let peers: Vec<UserId> = contacts.iter().map(|contact| contact.peer).collect();
        let mut users = user_infos(access, &peers).await?;
        match peers.last() {
            Some(last) => self.last_contact = *last,
            None => self.next = Part::Conversations,
        }
        let records = contacts.into_iter().map(|contact| {
            let user = users.remove(&contact.peer);
            let user = user.unwrap_or_else(|| UserInfo::new(contact.peer, format!("#{}", contact.peer)));
            ExportRecord::Contact(ContactInfo {
                blocked: contact.blocked,
                note: contact.note,
                since: contact.since,
                ..ContactInfo::new(user, contact.state)
            })
        });
        Ok(records.collect())
    }

    /// Reads the next range of a log, or if none is left, the next page of memberships. The page
    /// may be empty.
    async fn read_conversations(&mut self) -> Result<Vec<ExportRecord>, CommandError> {
        let (access, store) = (&self.operator.parts.access, self.operator.parts.access.store());
        let user = self.account.id;
        if let Some(range) = self.ranges.front().copied() {
            let records = self.read_range(range).await?;
            self.ranges.pop_front();
            return Ok(records);
        }
        let members = access
            .read(store.members_of_user(user, self.last_conversation, MAX_PAGE))
            .await?;
        let Some(end) = members.last().map(|member| member.conversation) else {
            self.next = Part::Done;
            return Ok(Vec::new());
        };
        let (mut page, mut logs) = (Vec::new(), VecDeque::new());
        for member in members {
            if let Some(row) = access.read(store.conversation(member.conversation)).await? {
                page.push(ExportRecord::Membership(ExportedMembership::of(&row, &member)));
                let is_inbox = matches!(row.kind, ConversationKind::Inbox { .. });
                logs.extend(ranges(Seq(1), row.last_seq).map(|(first, last)| LogRange {
                    conversation: row.id,
                    is_inbox,
                    first,
                    last,
                }));
            }
        }
        self.last_conversation = end;
        self.ranges = logs;
        Ok(page)
    }

    async fn read_range(&self, range: LogRange) -> Result<Vec<ExportRecord>, CommandError> {
        let (access, store) = (&self.operator.parts.access, self.operator.parts.access.store());
        let LogRange {
            conversation,
            is_inbox,
            first,
            last,
        } = range;
        if is_inbox {
            let max = u32::try_from(RANGE_EVENTS).unwrap_or(u32::MAX);
            let events = access.read(store.events(conversation, first, last, max)).await?;
            let entries = events.iter().filter_map(InboxEntry::of);
            return Ok(entries.map(ExportRecord::Inbox).collect());
        }
        let written = store.events_by_sender(conversation, self.account.id, first, last);
        let events = access.read(written).await?;
        let written = events.iter().filter_map(ExportedEvent::of);
        Ok(written.map(ExportRecord::Event).collect())
    }
}
