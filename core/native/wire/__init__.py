"""What processes say to each other.

A frame is a fixed header and a payload. The three hot kinds are packed by hand: CALL and REPLY,
whose payload is a bare pickle stream when the value is small and refers to nothing (flag PLAIN),
else a msgpack `Payload`; everything else is a RECORD, a typed message in msgpack::

    frames     the header, and how frames are packed and read
    record     all typed messages, which are
      peer       between any two processes
      request    from a client to its node service
      news       from the node service to a client
      template   between the node service and its template
    values     what calls and replies carry
    bulk       large parts of values on their way to another node
    needs      what tasks and actors ask for, and are given
"""

from rllib.core.native.wire.bulk import BulkAt as BulkAt
from rllib.core.native.wire.bulk import Coming as Coming
from rllib.core.native.wire.bulk import Landed as Landed
from rllib.core.native.wire.frames import ARRIVED as ARRIVED
from rllib.core.native.wire.frames import BULK as BULK
from rllib.core.native.wire.frames import CALL as CALL
from rllib.core.native.wire.frames import CLAIMED as CLAIMED
from rllib.core.native.wire.frames import COMING as COMING
from rllib.core.native.wire.frames import ERROR as ERROR
from rllib.core.native.wire.frames import HEADER as HEADER
from rllib.core.native.wire.frames import ITEM as ITEM
from rllib.core.native.wire.frames import LEAVING as LEAVING
from rllib.core.native.wire.frames import MAX_PAYLOAD as MAX_PAYLOAD
from rllib.core.native.wire.frames import PLAIN as PLAIN
from rllib.core.native.wire.frames import RECORD as RECORD
from rllib.core.native.wire.frames import REPLY as REPLY
from rllib.core.native.wire.frames import RETURNED as RETURNED
from rllib.core.native.wire.frames import SEGMENT as SEGMENT
from rllib.core.native.wire.frames import STREAM as STREAM
from rllib.core.native.wire.frames import bulk_frame as bulk_frame
from rllib.core.native.wire.frames import call_frame as call_frame
from rllib.core.native.wire.frames import coming_frame as coming_frame
from rllib.core.native.wire.frames import encode_record as encode_record
from rllib.core.native.wire.frames import error_frame as error_frame
from rllib.core.native.wire.frames import flagged as flagged
from rllib.core.native.wire.frames import item_frame as item_frame
from rllib.core.native.wire.frames import notice_frame as notice_frame
from rllib.core.native.wire.frames import plain_call_frame as plain_call_frame
from rllib.core.native.wire.frames import plain_item_frame as plain_item_frame
from rllib.core.native.wire.frames import plain_reply_frame as plain_reply_frame
from rllib.core.native.wire.frames import read_bulk as read_bulk
from rllib.core.native.wire.frames import read_coming as read_coming
from rllib.core.native.wire.frames import read_payload as read_payload
from rllib.core.native.wire.frames import read_payloads as read_payloads
from rllib.core.native.wire.frames import read_record as read_record
from rllib.core.native.wire.frames import read_segment as read_segment
from rllib.core.native.wire.frames import record_frame as record_frame
from rllib.core.native.wire.frames import reply_frame as reply_frame
from rllib.core.native.wire.frames import returned_frame as returned_frame
from rllib.core.native.wire.frames import segment_frame as segment_frame
from rllib.core.native.wire.frames import stream_end_frame as stream_end_frame
from rllib.core.native.wire.message import Message as Message
from rllib.core.native.wire.message import WireError as WireError
from rllib.core.native.wire.needs import Assignment as Assignment
from rllib.core.native.wire.needs import Fate as Fate
from rllib.core.native.wire.needs import Needs as Needs
from rllib.core.native.wire.news import ActorDied as ActorDied
from rllib.core.native.wire.news import ActorFound as ActorFound
from rllib.core.native.wire.news import ActorPlaced as ActorPlaced
from rllib.core.native.wire.news import ActorRestarting as ActorRestarting
from rllib.core.native.wire.news import ActorRow as ActorRow
from rllib.core.native.wire.news import ActorTable as ActorTable
from rllib.core.native.wire.news import GroupCreated as GroupCreated
from rllib.core.native.wire.news import GroupSettled as GroupSettled
from rllib.core.native.wire.news import GroupState as GroupState
from rllib.core.native.wire.news import GroupTable as GroupTable
from rllib.core.native.wire.news import LeaseGranted as LeaseGranted
from rllib.core.native.wire.news import LeaseLost as LeaseLost
from rllib.core.native.wire.news import LeasesWanted as LeasesWanted
from rllib.core.native.wire.news import MakeRoom as MakeRoom
from rllib.core.native.wire.news import MeasurementsFound as MeasurementsFound
from rllib.core.native.wire.news import Names as Names
from rllib.core.native.wire.news import NodeRow as NodeRow
from rllib.core.native.wire.news import NodeTable as NodeTable
from rllib.core.native.wire.news import Printed as Printed
from rllib.core.native.wire.news import Resources as Resources
from rllib.core.native.wire.news import Retire as Retire
from rllib.core.native.wire.news import RoomMade as RoomMade
from rllib.core.native.wire.news import Survey as Survey
from rllib.core.native.wire.news import Surveyed as Surveyed
from rllib.core.native.wire.news import Told as Told
from rllib.core.native.wire.news import WorkerRow as WorkerRow
from rllib.core.native.wire.news import WorkerTable as WorkerTable
from rllib.core.native.wire.peer import Assigned as Assigned
from rllib.core.native.wire.peer import Cancel as Cancel
from rllib.core.native.wire.peer import CancelRef as CancelRef
from rllib.core.native.wire.peer import Claimed as Claimed
from rllib.core.native.wire.peer import Elsewhere as Elsewhere
from rllib.core.native.wire.peer import Fetch as Fetch
from rllib.core.native.wire.peer import FetchFor as FetchFor
from rllib.core.native.wire.peer import Found as Found
from rllib.core.native.wire.peer import Freed as Freed
from rllib.core.native.wire.peer import Hello as Hello
from rllib.core.native.wire.peer import Host as Host
from rllib.core.native.wire.peer import Intern as Intern
from rllib.core.native.wire.peer import Keep as Keep
from rllib.core.native.wire.peer import Lent as Lent
from rllib.core.native.wire.peer import Moved as Moved
from rllib.core.native.wire.peer import Recall as Recall
from rllib.core.native.wire.peer import Released as Released
from rllib.core.native.wire.peer import SegmentAt as SegmentAt
from rllib.core.native.wire.peer import Stays as Stays
from rllib.core.native.wire.peer import Taken as Taken
from rllib.core.native.wire.request import Account as Account
from rllib.core.native.wire.request import Accuse as Accuse
from rllib.core.native.wire.request import ActorBuilt as ActorBuilt
from rllib.core.native.wire.request import ActorExits as ActorExits
from rllib.core.native.wire.request import AskActors as AskActors
from rllib.core.native.wire.request import AskAll as AskAll
from rllib.core.native.wire.request import AskGroups as AskGroups
from rllib.core.native.wire.request import AskMeasurements as AskMeasurements
from rllib.core.native.wire.request import AskNames as AskNames
from rllib.core.native.wire.request import AskNodes as AskNodes
from rllib.core.native.wire.request import AskResources as AskResources
from rllib.core.native.wire.request import AskWorkers as AskWorkers
from rllib.core.native.wire.request import Blocked as Blocked
from rllib.core.native.wire.request import CreateGroup as CreateGroup
from rllib.core.native.wire.request import FindActor as FindActor
from rllib.core.native.wire.request import KillActor as KillActor
from rllib.core.native.wire.request import Measured as Measured
from rllib.core.native.wire.request import NeedRoom as NeedRoom
from rllib.core.native.wire.request import PlaceActor as PlaceActor
from rllib.core.native.wire.request import RemoveGroup as RemoveGroup
from rllib.core.native.wire.request import RequestLease as RequestLease
from rllib.core.native.wire.request import ReturnLease as ReturnLease
from rllib.core.native.wire.request import Topic as Topic
from rllib.core.native.wire.request import WatchActor as WatchActor
from rllib.core.native.wire.request import WatchGroup as WatchGroup
from rllib.core.native.wire.request import WorkerReady as WorkerReady
from rllib.core.native.wire.template import Boot as Boot
from rllib.core.native.wire.template import Exited as Exited
from rllib.core.native.wire.template import Kill as Kill
from rllib.core.native.wire.template import Made as Made
from rllib.core.native.wire.template import Make as Make
from rllib.core.native.wire.template import Notice as Notice
from rllib.core.native.wire.values import BlockAt as BlockAt
from rllib.core.native.wire.values import FileAt as FileAt
from rllib.core.native.wire.values import KeptAt as KeptAt
from rllib.core.native.wire.values import Payload as Payload
from rllib.core.native.wire.values import RefAt as RefAt
from rllib.core.native.wire.values import Streamed as Streamed
