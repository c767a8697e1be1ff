"""All messages that travel as RECORD frames."""

from __future__ import annotations

from rllib.core.native.wire.bulk import Landed
from rllib.core.native.wire.news import (
    ActorDied,
    ActorFound,
    ActorPlaced,
    ActorRestarting,
    ActorTable,
    GroupCreated,
    GroupSettled,
    GroupTable,
    LeaseGranted,
    LeaseLost,
    LeasesWanted,
    MakeRoom,
    MeasurementsFound,
    Names,
    NodeTable,
    Printed,
    Resources,
    Retire,
    RoomMade,
    Survey,
    Surveyed,
    Told,
    WorkerTable,
)
from rllib.core.native.wire.peer import (
    Assigned,
    Cancel,
    CancelRef,
    Claimed,
    Elsewhere,
    Fetch,
    FetchFor,
    Found,
    Freed,
    Hello,
    Host,
    Intern,
    Keep,
    Lent,
    Moved,
    Recall,
    Released,
    Stays,
    Taken,
    Wanted,
)
from rllib.core.native.wire.request import (
    Account,
    Accuse,
    ActorBuilt,
    ActorExits,
    AskActors,
    AskAll,
    AskGroups,
    AskMeasurements,
    AskNames,
    AskNodes,
    AskResources,
    AskWorkers,
    Blocked,
    CreateGroup,
    FindActor,
    KillActor,
    Measured,
    NeedRoom,
    PlaceActor,
    RemoveGroup,
    RequestLease,
    ReturnLease,
    WatchActor,
    WatchGroup,
    WorkerReady,
)
from rllib.core.native.wire.template import Boot, Exited, Kill, Made, Make, Notice

Record = (
    Hello
    | Intern
    | Landed
    | Fetch
    | FetchFor
    | Found
    | Keep
    | Stays
    | Claimed
    | Elsewhere
    | Lent
    | Released
    | Moved
    | Freed
    | Recall
    | Cancel
    | CancelRef
    | Taken
    | Wanted
    | Assigned
    | Host
    | WorkerReady
    | RequestLease
    | ReturnLease
    | PlaceActor
    | ActorBuilt
    | ActorExits
    | WatchActor
    | FindActor
    | KillActor
    | Accuse
    | AskResources
    | AskAll
    | Account
    | Measured
    | AskMeasurements
    | AskNames
    | AskNodes
    | AskActors
    | AskWorkers
    | CreateGroup
    | RemoveGroup
    | WatchGroup
    | AskGroups
    | Blocked
    | NeedRoom
    | MakeRoom
    | RoomMade
    | LeaseGranted
    | LeaseLost
    | LeasesWanted
    | Retire
    | ActorPlaced
    | ActorRestarting
    | ActorDied
    | ActorFound
    | MeasurementsFound
    | Resources
    | Survey
    | Surveyed
    | Told
    | Names
    | NodeTable
    | Printed
    | ActorTable
    | WorkerTable
    | GroupCreated
    | GroupSettled
    | GroupTable
    | Boot
    | Make
    | Kill
    | Made
    | Exited
    | Notice
)
