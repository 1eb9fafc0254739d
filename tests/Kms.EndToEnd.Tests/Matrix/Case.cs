namespace Kms.EndToEnd.Tests.Matrix;

/// <summary>What a method is about: so what is hidden from whom.</summary>
internal enum Subject
{
    /// <summary>Anybody may.</summary>
    None,

    /// <summary>The service: nothing is hidden of it.</summary>
    Host,

    /// <summary>The root key: its column is that of root administrators.</summary>
    Root,

    /// <summary>A store: hidden from everybody but its members and operators.</summary>
    Store,

    /// <summary>A key: hidden from everybody who has no right on it.</summary>
    Key,

    /// <summary>A store's keys: whoever may see the store gets those that he may see.</summary>
    Listing,
}

/// <summary>How a method is tried.</summary>
/// <param name="Name">The method; where one is tried in several ways, and how.</param>
/// <param name="About">What it is about.</param>
/// <param name="Parameters">With <c>$key</c>, <c>$name</c>, <c>$sealed</c>, <c>$signed</c>, <c>$deleted</c>, <c>$new</c> and <c>$store</c>.</param>
/// <param name="Rows">The document's rows that must all allow it.</param>
internal sealed record Case(string Name, Subject About, string Parameters, params string[] Rows)
{
    public const string Operate =
        "create a store; deleted keys; `history.verify/export`, scope `system`; credentials; backup; metrics; `deletions.release`";

    public const string AdministerRoot = "root (root administrators), scope `root`";
    public const string ManageStore = "create a key; see every key of the store; history of the store; usage report";
    public const string ManageMembers = "members of the store (the last manager goes only by an operator)";
    public const string Manage = "rotate, period, name, memo, key state, version state, delete; list, add, remove grants";
    public const string See = "see the key and its public key";
    public const string SeeVersions = "see versions";
    public const string SeeHistory = "history of the key";
    public const string Encrypt = "encrypt, create a data key, sign, reencrypt";
    public const string Decrypt = "decrypt, verify";

    public string Method => Name.Split(' ')[0];

    /// <summary>A use or a change: its refusal stands in the history, if whoever was refused has a right there.</summary>
    public bool IsRecorded { get; init; }

    /// <summary>What it is allowed to do spoils the key for the next: each gets one of his own.</summary>
    public bool NeedsNewKey { get; init; }

    public string KeyType { get; init; } = "AES256-GCM96";

    /// <summary>What shows that whoever asked was let through.</summary>
    public string[] Passed { get; init; } = ["ok", "invalidState"];

    public static Case[] All { get; } =
    [
        // Using keys.
        Use("crypto.encrypt", "\"plaintext\":\"QQ==\"", Encrypt),
        Use("crypto.createDataKey", "\"bits\":256", Encrypt),
        Use("crypto.createDataKey with its plaintext", "\"includePlaintext\":true", Encrypt),
        Use("crypto.encryptBatch", "\"items\":[{\"plaintext\":\"QQ==\"}]", Encrypt),
        Use("crypto.reencrypt", "\"ciphertext\":\"$sealed\"", Encrypt),
        Use("crypto.reencryptBatch", "\"items\":[{\"ciphertext\":\"$sealed\"}]", Encrypt),
        Use("crypto.reencrypt to another context", "\"ciphertext\":\"$sealed\",\"newContext\":\"QQ==\"", Encrypt, Decrypt),
        Use("crypto.reencryptBatch to another context", "\"items\":[{\"ciphertext\":\"$sealed\",\"newContext\":\"QQ==\"}]", Encrypt, Decrypt),
        Use("crypto.decrypt", "\"ciphertext\":\"$sealed\"", Decrypt),
        Use("crypto.decryptBatch", "\"items\":[{\"ciphertext\":\"$sealed\"}]", Decrypt),
        Use("crypto.sign", "\"message\":\"QQ==\"", Encrypt) with { KeyType = "ECDSA-P256" },
        Use("crypto.verify", "\"message\":\"QQ==\",\"signature\":\"$signed\"", Decrypt) with { KeyType = "ECDSA-P256" },
        new("crypto.random", Subject.None, "\"bytes\":8"),

        // Managing keys.
        new("keys.create", Subject.Store, "\"store\":\"$store\",\"name\":\"$new\",\"type\":\"AES256-GCM96\"", ManageStore) { IsRecorded = true },
        new("keys.list", Subject.None, ""),
        new("keys.list of a store", Subject.Listing, "\"store\":\"$store\""),
        Read("keys.get", "", See),
        Read("keys.getPublicKey", "", See) with { KeyType = "ECDSA-P256" },
        Read("versions.list", "", SeeVersions),
        Change("keys.update", "\"memo\":\"$new\"", Manage),
        Change("keys.update to another name", "\"name\":\"$new\"", Manage),
        Change("keys.rotate", "", Manage),
        Change("keys.setRotationPeriod", "\"days\":30", Manage),
        Change("keys.enable", "", Manage),
        Change("keys.disable", "", Manage),
        Change("keys.requestDeletion", "\"confirmName\":\"$name\"", Manage),
        Change("keys.cancelDeletion", "", Manage),
        Change("keys.deleteNow", "\"confirmName\":\"$name\"", Manage),
        Change("versions.disable", "\"version\":1", Manage),
        Change("versions.enable", "\"version\":1", Manage),

        // Who may.
        Read("grants.list", "", Manage),
        Change("grants.add", "\"principal\":\"uid:29999\",\"role\":\"reviewer\"", Manage),
        Change("grants.remove", "\"principal\":\"uid:20009\",\"role\":\"reviewer\"", Manage),
        new("stores.create", Subject.Host, "\"name\":\"$new\",\"manager\":\"uid:29999\"", Operate) { IsRecorded = true },
        new("stores.list", Subject.None, ""),
        new("members.list", Subject.Store, "\"store\":\"$store\"", ManageMembers),
        new("members.add", Subject.Store, "\"store\":\"$store\",\"principal\":\"uid:29998\",\"role\":\"user\"", ManageMembers) { IsRecorded = true },
        new("members.remove", Subject.Store, "\"store\":\"$store\",\"principal\":\"uid:29998\"", ManageMembers) { IsRecorded = true },

        // Who did.
        Read("history.list of a key", "", SeeHistory),
        new("history.list of a store", Subject.Store, "\"store\":\"$store\"", ManageStore),
        new("history.list of the root", Subject.Root, "\"scope\":\"root\"", AdministerRoot),
        new("history.list of the system", Subject.Host, "\"scope\":\"system\"", Operate),
        new("history.verify", Subject.Host, "", Operate),
        new("history.export", Subject.Host, "\"limit\":1", Operate),
        new("usage.report", Subject.Store, "\"store\":\"$store\",\"month\":\"2026-11\"", ManageStore),
        new("notifications.list", Subject.None, ""),
        new("notifications.acknowledge", Subject.None, "\"upTo\":0"),
        new("notifications.subscribe", Subject.None, ""),

        // The service.
        new("deletedKeys.list", Subject.Host, "", Operate),
        new("deletedKeys.list of a store", Subject.Host, "\"store\":\"$store\"", Operate),
        new("deletedKeys.history", Subject.Host, "\"tag\":\"$deleted\"", Operate) { IsRecorded = true },
        new("deletedKeys.purge", Subject.Host, "\"tag\":\"$deleted\",\"reason\":\"tried\"", Operate) { IsRecorded = true, NeedsNewKey = true },
        new("deletions.release", Subject.Host, "", Operate) { IsRecorded = true },
        new("root.status", Subject.Root, "", AdministerRoot),

        // A rotation codes every row anew, which would look like a change by whoever comes next: RootRotationTests does it.
        new("root.rotate", Subject.Root, "\"reason\":\"\"", AdministerRoot) { IsRecorded = true, Passed = ["invalidParams"] },
        new("root.retire", Subject.Root, "\"generation\":1,\"reason\":\"tried\"", AdministerRoot) { IsRecorded = true, Passed = ["invalidState"] },
        new("credentials.set", Subject.Host, "\"unit\":\"$new.service\",\"id\":\"tried\",\"secret\":\"QQ==\"", Operate) { IsRecorded = true },
        new("credentials.list", Subject.Host, "", Operate),
        new("credentials.remove", Subject.Host, "\"unit\":\"$new.service\",\"id\":\"tried\"", Operate) { IsRecorded = true, Passed = ["ok", "notFound"] },
        new("backup.create", Subject.Host, "\"path\":\"$new\"", Operate) { IsRecorded = true },
        new("system.status", Subject.None, ""),
        new("system.whoAmI", Subject.None, ""),
        new("system.metrics", Subject.Host, "", Operate),
        new("rpc.discover", Subject.None, ""),
    ];

    private static Case Use(string name, string parameters, params string[] rows) => OfKey(name, parameters, rows) with { IsRecorded = true };

    private static Case Read(string name, string parameters, params string[] rows) => OfKey(name, parameters, rows);

    private static Case Change(string name, string parameters, params string[] rows) =>
        OfKey(name, parameters, rows) with { IsRecorded = true, NeedsNewKey = true };

    private static Case OfKey(string name, string parameters, string[] rows) =>
        new(name, Subject.Key, parameters.Length > 0 ? "\"key\":\"$key\"," + parameters : "\"key\":\"$key\"", rows);
}
