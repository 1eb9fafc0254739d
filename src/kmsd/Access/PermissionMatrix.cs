using System.Collections.Immutable;
using Kms.Client.Protocol;

namespace Kmsd.Access;

/// <summary>What can be done with one key. The zero allows nothing.</summary>
internal enum KeyAction
{
    None = 0,

    /// <summary>See the key and its public key.</summary>
    See = 1,

    /// <summary>Encrypt, create a data key, sign, reencrypt.</summary>
    Encrypt = 2,

    /// <summary>Decrypt, verify.</summary>
    Decrypt = 3,

    /// <summary>Rotate, period, name, memo, states, deletion; list, add and remove grants.</summary>
    Manage = 4,

    /// <summary>See the versions.</summary>
    SeeVersions = 5,

    /// <summary>Read its history.</summary>
    SeeHistory = 6,
}

/// <summary>What can be done with a store. The zero allows nothing.</summary>
internal enum StoreAction
{
    None = 0,

    /// <summary>List, add and remove members.</summary>
    ManageMembers = 1,

    /// <summary>Make a key; read the store's history and its usage report.</summary>
    ManageStore = 2,
}

/// <summary>What can be done with the host's service. The zero allows nothing.</summary>
internal enum HostAction
{
    None = 0,

    /// <summary>Whatever operators may do and nobody else.</summary>
    Operate = 1,

    /// <summary>Whatever root administrators may do: the root key and its history.</summary>
    AdministerRoot = 2,
}

/// <summary>A column of the matrix: in which capacity somebody may.</summary>
[Flags]
internal enum Capacity
{
    None = 0,
    Operator = 1,
    StoreManager = 2,
    Manager = 4,
    Encryptor = 8,
    Decryptor = 16,
    EncryptorDecryptor = 32,
    Reviewer = 64,
}

/// <summary>A row of the matrix.</summary>
/// <param name="What">As <c>docs/api.md</c> words it.</param>
/// <param name="Allowed">Whom it allows.</param>
internal sealed record MatrixRow(string What, Capacity Allowed)
{
    public KeyAction Key { get; init; }

    public StoreAction Store { get; init; }

    public HostAction Host { get; init; }
}

/// <summary>
/// The permission matrix of <c>docs/api.md</c>: the only place that says in which capacity somebody may do what. A test reads
/// the document's table and holds the two equal.
/// </summary>
internal static class PermissionMatrix
{
    private const Capacity Seers = Capacity.StoreManager | Capacity.Manager | Capacity.Encryptor | Capacity.Decryptor
        | Capacity.EncryptorDecryptor | Capacity.Reviewer;

    private const Capacity Reviewers = Capacity.StoreManager | Capacity.Manager | Capacity.Reviewer;

    public static ImmutableArray<MatrixRow> Rows { get; } =
    [
        new("create a store; deleted keys; `history.verify/export`, scope `system`; credentials; backup; metrics; `deletions.release`", Capacity.Operator) { Host = HostAction.Operate },
        new("root (root administrators), scope `root`", Capacity.Operator) { Host = HostAction.AdministerRoot },
        new("create a key; see every key of the store; history of the store; usage report", Capacity.StoreManager) { Store = StoreAction.ManageStore },
        new("members of the store (the last manager goes only by an operator)", Capacity.Operator | Capacity.StoreManager) { Store = StoreAction.ManageMembers },
        new("rotate, period, name, memo, key state, version state, delete; list, add, remove grants", Capacity.StoreManager | Capacity.Manager) { Key = KeyAction.Manage },
        new("see the key and its public key", Seers) { Key = KeyAction.See },
        new("see versions", Reviewers) { Key = KeyAction.SeeVersions },
        new("history of the key", Reviewers) { Key = KeyAction.SeeHistory },
        new("encrypt, create a data key, sign, reencrypt", Capacity.Manager | Capacity.Encryptor | Capacity.EncryptorDecryptor) { Key = KeyAction.Encrypt },
        new("decrypt, verify", Capacity.Manager | Capacity.Decryptor | Capacity.EncryptorDecryptor) { Key = KeyAction.Decrypt },
    ];

    private static readonly Capacity[] s_byKeyAction = [.. Enum.GetValues<KeyAction>().Select(action => Of(row => row.Key == action && action != KeyAction.None))];
    private static readonly Capacity[] s_byStoreAction = [.. Enum.GetValues<StoreAction>().Select(action => Of(row => row.Store == action && action != StoreAction.None))];

    public static bool Allows(KeyRole role, KeyAction action) => (Of(s_byKeyAction, (int)action) & CapacityOf(role)) != 0;

    /// <summary>What a store's member may do with every key of the store.</summary>
    public static bool Allows(StoreRole role, KeyAction action) => (Of(s_byKeyAction, (int)action) & CapacityOf(role)) != 0;

    public static bool Allows(StoreRole role, StoreAction action) => (Of(s_byStoreAction, (int)action) & CapacityOf(role)) != 0;

    /// <summary>What an operator, who holds no right on any key, may do with every store.</summary>
    public static bool OperatorMay(StoreAction action) => (Of(s_byStoreAction, (int)action) & Capacity.Operator) != 0;

    /// <summary>A number that is no action allows nothing.</summary>
    private static Capacity Of(Capacity[] byAction, int action) => action >= 0 && action < byAction.Length ? byAction[action] : Capacity.None;

    private static Capacity Of(Func<MatrixRow, bool> isMeant) => Rows.Where(isMeant).Aggregate(Capacity.None, (all, row) => all | row.Allowed);

    private static Capacity CapacityOf(KeyRole role) => role switch
    {
        KeyRole.Manager => Capacity.Manager,
        KeyRole.Encryptor => Capacity.Encryptor,
        KeyRole.Decryptor => Capacity.Decryptor,
        KeyRole.EncryptorDecryptor => Capacity.EncryptorDecryptor,
        KeyRole.Reviewer => Capacity.Reviewer,
        _ => Capacity.None,
    };

    /// <summary>A plain member has no right by that.</summary>
    private static Capacity CapacityOf(StoreRole role) => role == StoreRole.Manager ? Capacity.StoreManager : Capacity.None;
}
