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
}

/// <summary>What can be done with a store. The zero allows nothing.</summary>
internal enum StoreAction
{
    None = 0,

    /// <summary>List, add and remove members.</summary>
    ManageMembers = 1,

    /// <summary>Make a key.</summary>
    CreateKey = 2,

    /// <summary>List the keys one may see.</summary>
    ListKeys = 3,
}

/// <summary>The permission matrix of <c>docs/api.md</c>: the only place that says which role allows what.</summary>
internal static class PermissionMatrix
{
    public static bool Allows(KeyRole role, KeyAction action) => (role, action) switch
    {
        (KeyRole.Manager, KeyAction.See or KeyAction.SeeVersions or KeyAction.Encrypt or KeyAction.Decrypt or KeyAction.Manage) => true,
        (KeyRole.Encryptor, KeyAction.See or KeyAction.Encrypt) => true,
        (KeyRole.Decryptor, KeyAction.See or KeyAction.Decrypt) => true,
        (KeyRole.EncryptorDecryptor, KeyAction.See or KeyAction.Encrypt or KeyAction.Decrypt) => true,
        (KeyRole.Reviewer, KeyAction.See or KeyAction.SeeVersions) => true,
        _ => false,
    };

    /// <summary>What a store's member may do with every key of the store.</summary>
    public static bool Allows(StoreRole role, KeyAction action) => (role, action) switch
    {
        (StoreRole.Manager, KeyAction.See or KeyAction.SeeVersions or KeyAction.Manage) => true,
        _ => false,
    };

    public static bool Allows(StoreRole role, StoreAction action) => (role, action) switch
    {
        (StoreRole.Manager, StoreAction.ManageMembers or StoreAction.CreateKey or StoreAction.ListKeys) => true,
        (StoreRole.User, StoreAction.ListKeys) => true,
        _ => false,
    };

    /// <summary>What an operator, who holds no right on any key, may do with every store.</summary>
    public static bool OperatorMay(StoreAction action) => action is StoreAction.ManageMembers;
}
